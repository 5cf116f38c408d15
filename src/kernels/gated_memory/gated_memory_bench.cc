// Limit: memory. Forward reads memory and gate and writes y; backward reads three arrays and writes two.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/gated_memory/gated_memory.h"

namespace fathom::kernels {
namespace {

// The third argument says whether the normalised form is timed.
void bm_gated_memory_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  const bool normalised = state.range(2) != 0;
  std::vector<float> memory(static_cast<size_t>(rows * dim), 0.5F), gate(memory), y(memory.size()),
      weight(static_cast<size_t>(dim), 1.0F);
  for (auto _ : state) {
    gated_memory_fwd_cpu({memory.data(), gate.data(), normalised ? weight.data() : nullptr, y.data(), nullptr,
                          rows, dim, 1e-5F},
                         benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * cells, 20 * cells);
}
BENCHMARK(bm_gated_memory_fwd)->Args({1, 5120, 0})->Args({512, 5120, 0})->Args({512, 5120, 1})->UseRealTime();

void bm_gated_memory_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  const bool normalised = state.range(2) != 0;
  std::vector<float> memory(static_cast<size_t>(rows * dim), 0.5F), gate(memory), grad_y(memory),
      grad_memory(memory.size()), grad_gate(memory.size()), weight(static_cast<size_t>(dim), 1.0F),
      grad_weight(weight.size()), rstd(static_cast<size_t>(rows), 1.0F),
      workspace(static_cast<size_t>(gated_memory_bwd_workspace(rows, dim)));
  for (auto _ : state) {
    gated_memory_bwd_cpu({memory.data(), gate.data(), normalised ? weight.data() : nullptr, rstd.data(),
                          grad_y.data(), grad_memory.data(), grad_gate.data(),
                          normalised ? grad_weight.data() : nullptr, workspace.data(), rows, dim},
                         benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 20 * cells, 26 * cells);
}
BENCHMARK(bm_gated_memory_bwd)->Args({512, 5120, 0})->Args({512, 5120, 1})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
