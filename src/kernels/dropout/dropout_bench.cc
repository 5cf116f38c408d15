// Limit: memory. Reads x and writes y; drawing takes twenty multiplications for four elements.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/dropout/dropout.h"

namespace fathom::kernels {
namespace {

void bm_dropout(benchmark::State& state) {
  const int64_t count = state.range(0);
  std::vector<float> x(static_cast<size_t>(count), 0.5F), y(x);
  for (auto _ : state) {
    dropout_fwd_cpu({x.data(), y.data(), count, 0.1F, 1, 2}, benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 8.0 * static_cast<double>(count), 5.0 * static_cast<double>(count));
}
BENCHMARK(bm_dropout)->Arg(2048 * 960)->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
