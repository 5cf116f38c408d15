// Limit: memory. Every value is read and written.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/round_bf16/round_bf16.h"

namespace fathom::kernels {
namespace {

void bm_round_bf16(benchmark::State& state) {
  const int64_t count = state.range(0);
  std::vector<float> x(static_cast<size_t>(count), 0.3F);
  for (auto _ : state) {
    round_bf16_cpu({x.data(), count}, benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 8 * static_cast<double>(count), 0);
}
BENCHMARK(bm_round_bf16)->Arg(1 << 24)->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
