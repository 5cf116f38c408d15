// Limit: memory. Reads and writes x in place; the tables stay in cache.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/rope/rope.h"

namespace fathom::kernels {
namespace {

void bm_rope_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), heads = state.range(1), head_dim = state.range(2);
  std::vector<float> x(static_cast<size_t>(rows * heads * head_dim), 0.5F),
      cos(static_cast<size_t>(rows * head_dim / 2)), sin(cos);
  std::vector<int32_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(static_cast<int32_t>(r));
  rope_table(cos.data(), sin.data(), rows, head_dim, 10000.0, false);
  for (auto _ : state) {
    rope_fwd_cpu({x.data(), positions.data(), cos.data(), sin.data(), rows, rows, heads, head_dim,
                  heads * head_dim, false},
                 benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(rows * heads * head_dim);
  benchmarking::report(state, 8 * elements, 3 * elements);
}
BENCHMARK(bm_rope_fwd)->Args({1, 15, 64})->Args({512, 15, 64})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
