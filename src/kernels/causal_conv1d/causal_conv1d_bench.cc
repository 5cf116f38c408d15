// Limit: memory. Forward reads x and writes y; backward reads x and grad_y, and writes and reads grad_x
// twice.
#include <vector>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/common/benchmarking.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kWidth = 4;

void bm_causal_conv1d_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), channels = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * channels), 0.5F), y(x.size()),
      weight(static_cast<size_t>(channels * kWidth), 0.3F), bias(static_cast<size_t>(channels), 0.1F);
  const ConvSequence sequence{{0, rows}, nullptr};
  for (auto _ : state) {
    causal_conv1d_fwd_cpu({x.data(), weight.data(), bias.data(), y.data(), &sequence, 1, channels, kWidth},
                          benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * channels);
  benchmarking::report(state, 8 * cells, 2 * kWidth * cells);
}
BENCHMARK(bm_causal_conv1d_fwd)->Args({1, 5120})->Args({512, 1536})->Args({512, 5120})->UseRealTime();

void bm_causal_conv1d_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), channels = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * channels), 0.5F),
      grad_y = x, grad_x(x.size()), weight(static_cast<size_t>(channels * kWidth), 0.3F),
      grad_weight(weight.size()), bias(static_cast<size_t>(channels), 0.1F), grad_bias(bias.size());
  const RowRange range{0, rows};
  for (auto _ : state) {
    causal_conv1d_bwd_cpu({x.data(), weight.data(), bias.data(), grad_y.data(), &range, 1, grad_x.data(),
                           grad_weight.data(), grad_bias.data(), channels, kWidth},
                          benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * channels);
  benchmarking::report(state, 24 * cells, 6 * kWidth * cells);
}
BENCHMARK(bm_causal_conv1d_bwd)->Args({512, 1536})->Args({512, 5120})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
