// How the engine rounds between its ops.
#pragma once

#include <string_view>

#include "base/dtype.h"
#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

// kFast: activations between ops are float (docs/design/001-float-activations.md).
// kReference: they are rounded to bfloat16 where the published inference code of Phi-4-mini-flash stores them
// so (Decoder-Hybrid-Decoder, 10.2): norms' inputs and outputs, products, convolutions, the memory of gated
// memory units and what gates give, the maps of differential attention, its difference, lambda, logits. The
// residual stream stays float there too. Parameters that are no matrices are taken as the file has them.
enum class Rounding : uint8_t { kFast, kReference };

constexpr std::string_view word_of(Rounding rounding) {
  return rounding == Rounding::kFast ? "fast" : "reference";
}

struct Numerics {
  Rounding rounding = Rounding::kFast;
  // Of convolution and SSM states: kBF16 rounds them at the end of every call, as the published code stores
  // them. Cutting a sequence into calls differently then changes what is computed.
  DType state_type = DType::kF32;
};

// Error: the plan has no such rounding, or nothing that it would change. `matrix_type` is that of the
// weights.
Status check_numerics(const ModelPlan& plan, DType matrix_type, const Numerics& numerics);

}  // namespace fathom
