// Limit: memory. Forward reads gate and up and writes y; backward reads three arrays and writes two.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/swiglu/swiglu.h"

namespace fathom::kernels {
namespace {

void bm_swiglu_fwd(benchmark::State& state) {
  const int64_t count = state.range(0);
  std::vector<float> gate(static_cast<size_t>(count), 0.5F), up(gate), y(gate);
  for (auto _ : state) {
    swiglu_fwd_cpu({gate.data(), up.data(), y.data(), count}, benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 12.0 * static_cast<double>(count), 20.0 * static_cast<double>(count));
}
BENCHMARK(bm_swiglu_fwd)->Arg(2560)->Arg(512 * 2560)->UseRealTime();

void bm_swiglu_bwd(benchmark::State& state) {
  const int64_t count = state.range(0);
  std::vector<float> gate(static_cast<size_t>(count), 0.5F), up(gate), grad(gate), grad_gate(gate),
      grad_up(gate);
  for (auto _ : state) {
    swiglu_bwd_cpu({gate.data(), up.data(), grad.data(), grad_gate.data(), grad_up.data(), count},
                   benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 20.0 * static_cast<double>(count), 26.0 * static_cast<double>(count));
}
BENCHMARK(bm_swiglu_bwd)->Arg(512 * 2560)->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
