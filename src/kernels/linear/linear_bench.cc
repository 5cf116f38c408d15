// Limits: one row moves the weights (memory), many rows multiply (the fused multiply-add peak).
#include <vector>

#include "base/half.h"
#include "kernels/common/benchmarking.h"
#include "kernels/linear/linear.h"

namespace fathom::kernels {
namespace {

void bm_linear_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const DType type = state.range(3) != 0 ? DType::kBF16 : DType::kF32;
  std::vector<float> x(static_cast<size_t>(rows * in), 0.5F), y(static_cast<size_t>(rows * out));
  std::vector<uint8_t> weight(static_cast<size_t>(in * out * size_of(type))),
      workspace(static_cast<size_t>(linear_fwd_workspace(rows, in, type)));
  for (auto _ : state) {
    linear_fwd_cpu({.x = x.data(),
                    .weight = weight.data(),
                    .weight_type = type,
                    .y = y.data(),
                    .rows = rows,
                    .in = in,
                    .out = out,
                    .x_stride = in,
                    .y_stride = out,
                    .workspace = workspace.data()},
                   benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto weights = static_cast<double>(in * out);
  benchmarking::report(state, weights * static_cast<double>(size_of(type)),
                       2.0 * static_cast<double>(rows) * weights, type);
}
BENCHMARK(bm_linear_fwd)
    ->ArgsProduct({{1, 16, 512}, {960}, {2560}, {0, 1}})
    ->Args({1, 2048, 49152, 1})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
