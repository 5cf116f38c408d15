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
  return std::holds_alternative<Mamba>(mixer) ? BlockKind::kMamba : BlockKind::kGatedMemory;
}

KeySource key_source(const Segment& segment, const Layer& layer, int32_t depth) {
  if (layer.kind() == BlockKind::kCrossAttention) return KeySource::kOther;
  if (depth == 0 || segment.kv == KvMode::kRecursionWise) return KeySource::kOwn;
  return segment.kv == KvMode::kShared ? KeySource::kFirstDepth : KeySource::kMerged;
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

int64_t ModelPlan::num_unrolled_layers() const {
  int64_t total = 0;
  for (const Segment& segment : segments)
    total += segment.repeat * static_cast<int64_t>(segment.layers.size());
  return total;
}

}  // namespace fathom
