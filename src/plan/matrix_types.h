// In which type a parameter is kept, as a function of what it is. Three types of matrices are known:
//
//   kF32    every parameter is float
//   kBF16   matrices, embedding and head are bfloat16 (may_be_bf16), the rest is float
//   kI8     the matrices of large products are int8 with a float scale for each row (may_be_int8), the others
//           bfloat16, the rest is float
//
// Rates of a recurrence stay high, with A, D and the convolutions: an error there is met again at every token
// (Decoder-Hybrid-Decoder, section 11 row 36). So do adapters, which are small, and an embedding of its own,
// of which a token reads one row. A tied one is the head, and read whole.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/dtype.h"
#include "plan/model_plan.h"

namespace fathom {

// kMatrix, and the head.
bool may_be_int8(const ModelPlan& plan, int32_t param);

// kF32, kBF16 or kI8, where matrices are `matrix_type`.
DType type_of(const ModelPlan& plan, int32_t param, DType matrix_type);

// Bytes of the parameter in that type, with the scales of its rows.
int64_t bytes_of(const ModelPlan& plan, int32_t param, DType matrix_type);

// "f32", "bf16", "int8": the words of flags, each a type of matrices.
DType matrix_type_named(std::string_view word);

}  // namespace fathom
