// The weights of tiny models as the engine holds them.
#pragma once

#include "plan/matrix_types.h"
#include "tests/parity/tiny_models.h"
#include "weights/int8_rows.h"
#include "weights/weights.h"

namespace fathom::testing {

inline Weights weights_of(const TinyModel& model, const MatrixTypes& matrices) {
  Weights weights(model.plan.params.size());
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const Param& param = model.plan.params[p];
    const auto index = static_cast<int32_t>(p);
    const DType type = type_of(model.plan, index, matrices);
    const int64_t columns = param.shape.back(), rows = elements_of(param) / columns;
    const int64_t group = group_of(model.plan, index, matrices);
    uint16_t* words = group > 0 ? weights.allocate_groups(index, rows, columns, group) : nullptr;
    float* scales = type == DType::kI8 ? weights.allocate_scale(index, param.shape.front()) : nullptr;
    void* memory = weights.allocate(index, type, rows, columns);
    EXPECT_EQ(store_rows(model.values[p], columns, type, memory, scales, group, words), -1);
  }
  return weights;
}

inline DType kv_type_of(DType matrix_type) { return matrix_type == DType::kF32 ? DType::kF32 : DType::kBF16; }

}  // namespace fathom::testing
