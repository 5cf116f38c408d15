// Limit: memory. Forward reads both maps and writes their difference; backward reads them and the gradient
// and writes both gradients.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/differential_norm/differential_norm.h"

namespace fathom::kernels {
namespace {

void bm_differential_norm_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), pairs = state.range(1), dim = state.range(2);
  std::vector<float> x(static_cast<size_t>(2 * rows * pairs * dim), 0.5F),
      weight(static_cast<size_t>(dim), 1.0F), y(x.size() / 2);
  for (auto _ : state) {
    differential_norm_fwd_cpu(
        {x.data(), weight.data(), y.data(), nullptr, rows, pairs, dim, 0.7F, 0.4F, 1e-5F},
        benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * pairs * dim);
  benchmarking::report(state, 12 * elements, 8 * elements);
}
BENCHMARK(bm_differential_norm_fwd)->Args({1, 20, 128})->Args({512, 20, 128})->UseRealTime();

void bm_differential_norm_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), pairs = state.range(1), dim = state.range(2);
  std::vector<float> x(static_cast<size_t>(2 * rows * pairs * dim), 0.5F),
      weight(static_cast<size_t>(dim), 1.0F), rstd(static_cast<size_t>(rows * pairs), 1.0F), g(x.size() / 2),
      gx(x.size()), gw(weight.size()),
      workspace(static_cast<size_t>(differential_norm_bwd_workspace(rows, dim)));
  float g_lambda = 0;
  for (auto _ : state) {
    differential_norm_bwd_cpu({x.data(), weight.data(), rstd.data(), g.data(), gx.data(), gw.data(),
                               &g_lambda, workspace.data(), rows, pairs, dim, 0.7F, 0.4F},
                              benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * pairs * dim);
  benchmarking::report(state, 20 * elements, 20 * elements);
}
BENCHMARK(bm_differential_norm_bwd)->Args({512, 20, 128})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
