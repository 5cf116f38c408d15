#include "plan/matrix_types.h"

#include <string>

#include "base/check.h"
#include "base/int4.h"

namespace fathom {

bool may_be_int8(const ModelPlan& plan, int32_t param) {
  return plan.params[static_cast<size_t>(param)].role == ParamRole::kMatrix || param == plan.head.first;
}

bool may_be_int4(const ModelPlan& plan, int32_t param) {
  return plan.params[static_cast<size_t>(param)].role == ParamRole::kMatrix;
}

DType type_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices) {
  const DType type = matrices.type;
  FATHOM_CHECK(type == DType::kF32 || type == DType::kBF16 || type == DType::kI8 || type == DType::kI4,
               "matrices are f32, bf16, int8 or int4");
  if (const auto own = matrices.own.find(param); own != matrices.own.end()) return own->second.type;
  if (!may_be_bf16(plan.params[static_cast<size_t>(param)].role)) return DType::kF32;
  if (type == DType::kI4 && may_be_int4(plan, param)) return DType::kI4;
  if (type != DType::kI8 && type != DType::kI4) return type;
  return may_be_int8(plan, param) ? DType::kI8 : DType::kBF16;
}

int64_t group_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices) {
  if (type_of(plan, param, matrices) != DType::kI4) return 0;
  const auto own = matrices.own.find(param);
  return own != matrices.own.end() ? own->second.group : matrices.group;
}

int64_t bytes_of(const ModelPlan& plan, int32_t param, const MatrixTypes& matrices) {
  const Param& of = plan.params[static_cast<size_t>(param)];
  const DType type = type_of(plan, param, matrices);
  const int64_t columns = of.shape.back(), rows = elements_of(of) / columns;
  const int64_t scales = type == DType::kI8 ? of.shape.front() * size_of(DType::kF32) : 0;
  const int64_t words =
      type == DType::kI4 ? rows * int4::groups_of(columns, group_of(plan, param, matrices)) * 2 : 0;
  return rows * row_bytes(type, columns) + scales + words;
}

DType matrix_type_named(std::string_view word) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8, DType::kI4}) {
    if (name_of(type) == word) return type;
  }
  FATHOM_CHECK(false, "matrices of type " + std::string(word));
  return DType::kF32;
}

}  // namespace fathom
