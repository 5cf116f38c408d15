// What a plan may describe and no executor runs, and from where on rows may be dropped in prefill.
#include <string>

#include "plan/model_plan.h"

namespace fathom {

namespace {

Error missing(const std::string& what) { return not_supported("not supported yet: " + what); }

Status check_router(const RouterSpec& router) {
  if (router.kind == RouterKind::kTokenChoice) return missing("token-choice routing");
  if (router.network != RouterNetwork::kLinear) return missing("MLP routers");
  if (router.loss == RouterLoss::kAuxRouter) return missing("auxiliary routers");
  if (router.random) return missing("random routers");
  return {};
}

Status check_layer(const ModelPlan& plan, const Layer& layer) {
  const std::string place = " (layer " + std::to_string(layer.index) + ")";
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  if (attention != nullptr && attention->differential) return missing("differential attention" + place);
  for (SlotId slot : layer.writes) {
    if (plan.slots[static_cast<size_t>(slot)].kind != SlotKind::kGmuMemory) continue;
    if (layer.memory == MemorySource::kMlpUp) return missing("memory taken from an MLP" + place);
    if (attention != nullptr) return missing("memory taken from attention" + place);
  }
  return {};
}

}  // namespace

Status check_executable(const ModelPlan& plan) {
  for (const Segment& segment : plan.segments) {
    if (segment.router) FATHOM_TRY(check_router(segment.router->spec));
    if (segment.kv != KvMode::kRecursionWise)
      return missing("keys and values shared by recursions (layer " +
                     std::to_string(segment.layers.front().index) + ")");
    for (const Layer& layer : segment.layers) FATHOM_TRY(check_layer(plan, layer));
  }
  return {};
}

std::optional<int32_t> prefill_shortcut_layer(const ModelPlan& plan) {
  int32_t unrolled = 0;
  int32_t first = 0;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    ++unrolled;
    for (SlotId slot : layer.writes) {
      if (plan.slots[static_cast<size_t>(slot)].persistent()) first = unrolled;
    }
  });
  if (first == unrolled) return std::nullopt;
  return first;
}

Status check_prefill_shortcut(const ModelPlan& plan, int64_t claimed) {
  int64_t unrolled = 0;
  Status status;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    const int64_t index = unrolled++;
    if (index < claimed || !status.ok()) return;
    for (SlotId id : layer.writes) {
      const Slot& slot = plan.slots[static_cast<size_t>(id)];
      if (!slot.persistent()) continue;
      status = invalid("layer " + std::to_string(index) + ": writes slot " + slot.name +
                       ", but the prefill shortcut is claimed from layer " + std::to_string(claimed) + " on");
      return;
    }
  });
  return status;
}

}  // namespace fathom
