// Limit: memory. Forward reads x and base and writes y; backward reads x and grad_y and writes grad_x.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/scale_columns/scale_columns.h"

namespace fathom::kernels {
namespace {

void bm_scale_columns_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), base(x), scale(static_cast<size_t>(dim), 0.5F);
  for (auto _ : state) {
    scale_columns_fwd_cpu({x.data(), scale.data(), base.data(), base.data(), rows, dim},
                          benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * cells, 2 * cells);
}
BENCHMARK(bm_scale_columns_fwd)->Args({2048, 960})->UseRealTime();

void bm_scale_columns_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), grad_y(x), grad_x(x);
  std::vector<float> scale(static_cast<size_t>(dim), 0.5F), grad_scale(scale),
      workspace(static_cast<size_t>(scale_columns_bwd_workspace(rows, dim)));
  for (auto _ : state) {
    scale_columns_bwd_cpu({x.data(), scale.data(), grad_y.data(), grad_x.data(), grad_scale.data(),
                           workspace.data(), rows, dim},
                          benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * cells, 3 * cells);
}
BENCHMARK(bm_scale_columns_bwd)->Args({2048, 960})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
