// Limit: multiply-adds, one for each element of the matrix and each of the rank.
#include <vector>

#include "kernels/adapted_norms/adapted_norms.h"
#include "kernels/common/benchmarking.h"

namespace fathom::kernels {
namespace {

void bm_adapted_norms(benchmark::State& state) {
  const int64_t out = state.range(0), in = state.range(1), rank = state.range(2);
  std::vector<float> weight(static_cast<size_t>(out * in), 0.5F), a(static_cast<size_t>(rank * in), 0.5F),
      b(static_cast<size_t>(out * rank), 0.5F), norms(static_cast<size_t>(out));
  for (auto _ : state) {
    adapted_norms_fwd_cpu({.weight = weight.data(),
                           .a = a.data(),
                           .b = b.data(),
                           .norms = norms.data(),
                           .in = in,
                           .out = out,
                           .rank = rank},
                          benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(out * in);
  benchmarking::report(state, 4 * cells, 2 * static_cast<double>(rank + 1) * cells);
}
BENCHMARK(bm_adapted_norms)->Args({960, 960, 16})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
