// In which type a parameter is kept, as a function of what it is. Four types of matrices are known:
//
//   kF32    every parameter is float
//   kBF16   matrices, embedding and head are bfloat16 (may_be_bf16), the rest is float
//   kI8     the matrices of large products are int8 with a float scale for each row (may_be_int8), the others
//           bfloat16, the rest is float
//   kI4     those matrices are int4 in groups (base/int4.h, may_be_int4) but for the head, which is int8; the
//           others as with kI8
//
// Rates of a recurrence stay high, with A, D and the convolutions: an error there is met again at every token
// (Decoder-Hybrid-Decoder, section 11 row 36). So do adapters, which are small, and an embedding of its own,
// of which a token reads one row. A tied one is the head, and read whole; an error there meets every
// prediction (docs/design/027-int4-weights.md).
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "base/dtype.h"
#include "plan/model_plan.h"

namespace fathom {

// kMatrix, and the head.
bool may_be_int8(const ModelPlan& plan, int32_t param);
// kMatrix.
bool may_be_int4(const ModelPlan& plan, int32_t param);

// Columns of a group of int4 where nobody says another number.
constexpr int64_t kUsualGroup = 64;

// The type of a model's matrices, and where some of them have another one of those that they may have. Made
// of a type alone, and that type where only the word counts.
struct MatrixTypes {
  MatrixTypes(DType of_all, int64_t group_of_int4 = kUsualGroup) : type(of_all), group(group_of_int4) {}
  operator DType() const { return type; }

  DType type;
  int64_t group;  // of int4
  struct Own {
    DType type;
    int64_t group = 0;  // of int4
  };
  std::map<int32_t, Own> own;  // by parameter
};

// kF32, kBF16, kI8 or kI4, where matrices are as `matrices` says; and the columns of a group, 0 of what is
// not int4.
DType type_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices);
int64_t group_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices);

// Bytes of the parameter in that type, with the scales of its rows or the words of its groups.
int64_t bytes_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices);

// "f32", "bf16", "int8", "int4": the words of flags, each a type of matrices.
DType matrix_type_named(std::string_view word);

}  // namespace fathom
