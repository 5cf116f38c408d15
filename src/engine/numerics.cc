#include "engine/numerics.h"

#include <algorithm>
#include <string>

namespace fathom {

Status check_numerics(const ModelPlan& plan, DType matrix_type, const Numerics& numerics) {
  if (numerics.rounding == Rounding::kReference) {
    const bool recursive = std::ranges::any_of(plan.segments, [](const Segment& s) { return s.repeat > 1; });
    if (plan.spec.architecture != "phi4flash" || recursive) {
      return not_supported(
          "--rounding reference: where the published code rounds is known of phi4flash, not of " +
          (recursive ? "recursion" : plan.spec.architecture));
    }
    if (matrix_type != DType::kBF16) {
      return invalid("--rounding reference: the matrices are " + std::string(name_of(matrix_type)) +
                     ", expected bf16, which the published code runs in");
    }
  }
  const bool recurrent =
      std::ranges::any_of(plan.slots, [](const Slot& slot) { return slot.kind == SlotKind::kSsmState; });
  if (numerics.state_type != DType::kF32 && !recurrent)
    return invalid("--state-dtype: this model has no recurrent layer");
  return {};
}

}  // namespace fathom
