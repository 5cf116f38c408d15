#include "weights/random_weights.h"

#include <algorithm>
#include <vector>

#include "base/half.h"
#include "plan/initial_value.h"
#include "weights/checkpoint.h"

namespace fathom {

namespace {

constexpr int64_t kPeriod = 65'521;  // prime: rows of a matrix do not repeat

}  // namespace

Weights random_weights(const ModelPlan& plan, uint64_t seed, DType matrix_type, Parallel& parallel) {
  FATHOM_CHECK(matrix_type == DType::kF32 || matrix_type == DType::kBF16, "matrices are f32 or bf16");
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
    const DType type = may_be_bf16(param.role) ? matrix_type : DType::kF32;
    void* memory = weights.allocate(static_cast<int32_t>(p), type, count);
    parallel.run(count, 4096, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float value = drawn[static_cast<size_t>(i % period)];
        if (type == DType::kF32) {
          static_cast<float*>(memory)[i] = value;
        } else {
          static_cast<BFloat16*>(memory)[i] = to_bfloat16(value);
        }
      }
    });
  }
  return weights;
}

}  // namespace fathom
