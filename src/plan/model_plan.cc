#include "plan/model_plan.h"

#include <algorithm>

namespace fathom {

int64_t elements_of(const Param& param) {
  int64_t product = 1;
  for (int64_t extent : param.shape) product *= extent;
  return product;
}

BlockKind Layer::kind() const {
  if (const auto* attention = std::get_if<Attention>(&mixer)) {
    return attention->cross ? BlockKind::kCrossAttention : BlockKind::kAttention;
  }
  if (std::holds_alternative<Mamba>(mixer)) return BlockKind::kMamba;
  if (std::holds_alternative<Mamba2>(mixer)) return BlockKind::kMamba2;
  return std::holds_alternative<GatedDelta>(mixer) ? BlockKind::kGatedDelta : BlockKind::kGatedMemory;
}

KeySource key_source(const Segment& segment, const Layer& layer, int32_t depth) {
  if (layer.kind() == BlockKind::kCrossAttention) return KeySource::kOther;
  if (depth == 0 || segment.kv == KvMode::kRecursionWise) return KeySource::kOwn;
  return segment.kv == KvMode::kShared ? KeySource::kFirstDepth : KeySource::kMerged;
}

bool makes_keys(const Segment& segment, const Layer& layer, int32_t depth) {
  const KeySource source = key_source(segment, layer, depth);
  return layer.kind() == BlockKind::kAttention && (source == KeySource::kOwn || source == KeySource::kMerged);
}

double running_share(const Segment& segment, int32_t depth) {
  if (!segment.router || (depth == 0 && segment.kv != KvMode::kRecursionWise)) return 1;
  return segment.router->spec.capacity[static_cast<size_t>(depth)];
}

bool is_routed(const ModelPlan& plan) {
  return std::ranges::any_of(plan.segments, [](const Segment& s) { return s.router.has_value(); });
}

int32_t most_passes(const ModelPlan& plan) {
  int32_t most = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.router) most = std::max(most, segment.repeat);
  }
  return most;
}

std::vector<AdaptedMatrix> adapted_matrices(const Layer& layer) {
  std::vector<AdaptedMatrix> found;
  const auto add = [&](Projection projection, const ParamRef& weight, const Adapter& adapter) {
    if (adapter.present()) found.push_back({projection, weight, &adapter});
  };
  if (const auto* attention = std::get_if<Attention>(&layer.mixer)) {
    add(Projection::kQ, attention->q, attention->q_adapter);
    add(Projection::kK, attention->k, attention->k_adapter);
    add(Projection::kV, attention->v, attention->v_adapter);
    add(Projection::kO, attention->o, attention->o_adapter);
  }
  add(Projection::kGate, layer.mlp.gate, layer.mlp.gate_adapter);
  add(Projection::kUp, layer.mlp.up, layer.mlp.up_adapter);
  add(Projection::kDown, layer.mlp.down, layer.mlp.down_adapter);
  return found;
}

int64_t ModelPlan::num_unrolled_layers() const {
  int64_t total = 0;
  for (const Segment& segment : segments)
    total += segment.repeat * static_cast<int64_t>(segment.layers.size());
  return total;
}

}  // namespace fathom
