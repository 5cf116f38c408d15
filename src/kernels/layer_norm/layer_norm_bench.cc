// Limit: memory. Forward reads x and writes y; backward reads x and grad_y and writes grad_x.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/layer_norm/layer_norm.h"

namespace fathom::kernels {
namespace {

void bm_layer_norm_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 1.0F), y(x);
  for (auto _ : state) {
    layer_norm_fwd_cpu({x.data(), weight.data(), weight.data(), y.data(), nullptr, nullptr, rows, dim, 1e-5F},
                       benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * dim);
  benchmarking::report(state, 8 * elements, 7 * elements);
}
BENCHMARK(bm_layer_norm_fwd)->Args({1, 2560})->Args({512, 2560})->UseRealTime();

void bm_layer_norm_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 1.0F),
      grad_x(x), grad_weight(weight), grad_bias(weight), mean(static_cast<size_t>(rows)),
      rstd(static_cast<size_t>(rows), 1.0F),
      workspace(static_cast<size_t>(layer_norm_bwd_workspace(rows, dim)));
  for (auto _ : state) {
    layer_norm_bwd_cpu({x.data(), weight.data(), mean.data(), rstd.data(), x.data(), grad_x.data(),
                        grad_weight.data(), grad_bias.data(), workspace.data(), rows, dim},
                       benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * elements, 14 * elements);
}
BENCHMARK(bm_layer_norm_bwd)->Args({512, 2560})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
