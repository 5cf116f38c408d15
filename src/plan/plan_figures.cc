#include "plan/plan_figures.h"

#include "plan/spec_words.h"
#include "plan/work.h"

namespace fathom {

namespace {

std::string kind_of(const Layer& layer) {
  switch (layer.kind()) {
    case BlockKind::kAttention:
      return std::get<Attention>(layer.mixer).differential ? "differential attention" : "attention";
    case BlockKind::kCrossAttention:
      return std::get<Attention>(layer.mixer).differential ? "differential cross-attention"
                                                           : "cross-attention";
    case BlockKind::kMamba:
      return "mamba";
    case BlockKind::kMamba2:
      return "mamba-2";
    case BlockKind::kGatedDelta:
      return "gated delta";
    case BlockKind::kGatedMemory:
      break;
  }
  return std::get<GatedMemory>(layer.mixer).norm.present() ? "normalised gated memory" : "gated memory";
}

std::string names_of(const ModelPlan& plan, const std::vector<SlotId>& slots) {
  std::string out;
  for (SlotId id : slots) {
    if (!out.empty()) out += ",";
    out += plan.slots[static_cast<size_t>(id)].name;
  }
  return out;
}

std::string relaxation_of(const Layer& layer) {
  std::string out;
  for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
    if (out.empty()) {
      out = (matrix.adapter->magnitude.present() ? "dora " : "lora ") + std::to_string(matrix.adapter->rank) +
            ":";
    }
    out.append(" ").append(word_of(matrix.projection));
  }
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  if (attention != nullptr && attention->prompt) out = "prompt " + std::to_string(attention->prompt->length);
  if (layer.encoding.present()) out = "encoding";
  return out;
}

LayerFigures layer_figures(const ModelPlan& plan, const Segment& segment, const Layer& layer, int64_t context,
                           DType kv_type) {
  LayerFigures figures;
  figures.index = layer.index;
  figures.repeat = segment.repeat;
  figures.routed = segment.router.has_value();
  figures.kind = kind_of(layer);
  figures.relaxation = relaxation_of(layer);
  if (const auto* attention = std::get_if<Attention>(&layer.mixer)) figures.window = attention->window;
  figures.writes = names_of(plan, layer.writes);
  figures.reads = names_of(plan, layer.reads);
  figures.parameters = count_layer_parameters(plan, layer);
  for (int32_t depth = 0; depth < segment.repeat; ++depth)
    figures.flops += count_layer_flops(plan, segment, layer, depth, context).total();
  figures.state = count_layer_state(plan, segment, layer, kv_type);
  return figures;
}

}  // namespace

PlanFigures figures_of(const ModelPlan& plan, int64_t context, DType kv_type) {
  PlanFigures figures;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers)
      figures.layers.push_back(layer_figures(plan, segment, layer, context, kv_type));
  }
  figures.parameters = count_parameters(plan);
  figures.flops = count_flops(plan, context);
  figures.state = count_state(plan, kv_type);
  if (paper_flops_apply(plan)) figures.paper_flops = paper_flops(plan, context);
  figures.shortcut = prefill_shortcut_layer(plan);
  if (figures.shortcut) {
    figures.shortcut_flops = count_prefill_work(plan, 0, context, 0).total() / static_cast<double>(context);
  }
  return figures;
}

}  // namespace fathom
