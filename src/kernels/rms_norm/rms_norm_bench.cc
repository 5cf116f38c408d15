// Limit: memory. Forward reads x and writes y; backward reads x and grad_y and writes grad_x.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/rms_norm/rms_norm.h"

namespace fathom::kernels {
namespace {

void bm_rms_norm_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 1.0F),
      y(x.size());
  for (auto _ : state) {
    rms_norm_fwd_cpu({x.data(), weight.data(), y.data(), nullptr, rows, dim, 1e-5F}, benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * dim);
  benchmarking::report(state, 8 * elements, 4 * elements);
}
BENCHMARK(bm_rms_norm_fwd)->Args({1, 960})->Args({512, 960})->Args({8192, 960})->UseRealTime();

void bm_rms_norm_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 1.0F),
      gx(x.size()), gw(weight.size()), rstd(static_cast<size_t>(rows), 1.0F),
      workspace(static_cast<size_t>(rms_norm_bwd_workspace(rows, dim)));
  for (auto _ : state) {
    rms_norm_bwd_cpu(
        {x.data(), weight.data(), rstd.data(), x.data(), gx.data(), gw.data(), workspace.data(), rows, dim},
        benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * elements, 9 * elements);
}
BENCHMARK(bm_rms_norm_bwd)->Args({512, 960})->Args({8192, 960})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
