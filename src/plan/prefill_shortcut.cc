// From where on rows may be dropped in prefill.
#include <string>

#include "plan/model_plan.h"

namespace fathom {

int32_t last_state_layer(const ModelPlan& plan) {
  int32_t unrolled = 0, last = -1;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    for (SlotId slot : layer.writes) {
      if (plan.slots[static_cast<size_t>(slot)].persistent()) last = unrolled;
    }
    ++unrolled;
  });
  return last;
}

std::optional<int32_t> prefill_shortcut_layer(const ModelPlan& plan) {
  const int32_t first = last_state_layer(plan) + 1;
  if (first == plan.num_unrolled_layers()) return std::nullopt;
  return first;
}

bool routes_behind_state(const ModelPlan& plan) {
  const int32_t last = last_state_layer(plan);
  int32_t unrolled = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.router && unrolled > last) return true;
    unrolled += segment.repeat * static_cast<int32_t>(segment.layers.size());
  }
  return false;
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
