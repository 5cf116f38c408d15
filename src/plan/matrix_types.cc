#include "plan/matrix_types.h"

#include <string>

#include "base/check.h"

namespace fathom {

bool may_be_int8(const ModelPlan& plan, int32_t param) {
  return plan.params[static_cast<size_t>(param)].role == ParamRole::kMatrix || param == plan.head.first;
}

DType type_of(const ModelPlan& plan, int32_t param, DType matrix_type) {
  FATHOM_CHECK(matrix_type == DType::kF32 || matrix_type == DType::kBF16 || matrix_type == DType::kI8,
               "matrices are f32, bf16 or int8");
  if (!may_be_bf16(plan.params[static_cast<size_t>(param)].role)) return DType::kF32;
  if (matrix_type != DType::kI8) return matrix_type;
  return may_be_int8(plan, param) ? DType::kI8 : DType::kBF16;
}

int64_t bytes_of(const ModelPlan& plan, int32_t param, DType matrix_type) {
  const Param& of = plan.params[static_cast<size_t>(param)];
  const DType type = type_of(plan, param, matrix_type);
  const int64_t scales = type == DType::kI8 ? of.shape.front() * size_of(DType::kF32) : 0;
  return elements_of(of) * size_of(type) + scales;
}

DType matrix_type_named(std::string_view word) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    if (name_of(type) == word) return type;
  }
  FATHOM_CHECK(false, "matrices of type " + std::string(word));
  return DType::kF32;
}

}  // namespace fathom
