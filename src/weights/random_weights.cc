#include "weights/random_weights.h"

#include <algorithm>
#include <vector>

#include "plan/initial_value.h"
#include "weights/int8_rows.h"

namespace fathom {

namespace {

constexpr int64_t kPeriod = 65'521;  // prime: rows of a matrix do not repeat

}  // namespace

Weights random_weights(const ModelPlan& plan, uint64_t seed, const MatrixTypes& matrices,
                       Parallel& parallel) {
  Weights weights(plan.params.size());
  std::vector<float> drawn;
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const Param& param = plan.params[p];
    const int64_t count = elements_of(param), columns = param.shape.back();
    // Only what is drawn may repeat: the rates of SSMs are a function of the column.
    const int64_t period = may_be_bf16(param.role) ? std::min(count, kPeriod) : count;
    drawn.resize(static_cast<size_t>(period));
    parallel.run(period, 4096, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        drawn[static_cast<size_t>(i)] = initial_value(param.init, seed, p, i, columns);
    });
    const auto index = static_cast<int32_t>(p);
    const DType type = type_of(plan, index, matrices);
    auto* memory = static_cast<uint8_t*>(weights.allocate(index, type, count / columns, columns));
    const int64_t group = group_of(plan, index, matrices);
    const int64_t words_of_row = group > 0 ? int4::groups_of(columns, group) : 0;
    uint16_t* words = group > 0 ? weights.allocate_groups(index, count / columns, columns, group) : nullptr;
    float* scales = type == DType::kI8 ? weights.allocate_scale(index, param.shape.front()) : nullptr;
    parallel.run(count / columns, std::max<int64_t>(1, 4096 / columns), [&](int64_t begin, int64_t end, int) {
      std::vector<float> row(static_cast<size_t>(columns));
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t i = 0; i < columns; ++i)
          row[static_cast<size_t>(i)] = drawn[static_cast<size_t>((r * columns + i) % period)];
        store_rows(row, columns, type, memory + r * row_bytes(type, columns),
                   scales != nullptr ? scales + r : nullptr, group, words + r * words_of_row);
      }
    });
  }
  return weights;
}

}  // namespace fathom
