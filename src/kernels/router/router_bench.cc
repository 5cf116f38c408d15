// Limit: memory. Forward reads x once; backward reads x and writes grad_x; a selection reads its weights.
#include <vector>

#include "base/random.h"
#include "kernels/common/benchmarking.h"
#include "kernels/router/router.h"

namespace fathom::kernels {
namespace {

void bm_router_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 0.1F),
      logits(static_cast<size_t>(rows)), weights(logits.size());
  for (auto _ : state) {
    router_fwd_cpu({x.data(), weight.data(), logits.data(), weights.data(), rows, dim, 1},
                   benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 4 * cells, 2 * cells);
}
BENCHMARK(bm_router_fwd)->Args({1, 960})->Args({2048, 960})->UseRealTime();

void bm_router_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  std::vector<float> x(static_cast<size_t>(rows * dim), 0.5F), weight(static_cast<size_t>(dim), 0.1F),
      logits(static_cast<size_t>(rows), 0.2F), grad_x(x.size()), grad_weight(weight.size()),
      workspace(static_cast<size_t>(router_bwd_workspace(rows, dim, 1)));
  for (auto _ : state) {
    router_bwd_cpu({x.data(), weight.data(), logits.data(), logits.data(), nullptr, grad_x.data(),
                    grad_weight.data(), workspace.data(), rows, dim, 1},
                   benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 8 * cells, 3 * cells);
}
BENCHMARK(bm_router_bwd)->Args({2048, 960})->UseRealTime();

void bm_router_top_k(benchmark::State& state) {
  const int64_t rows = state.range(0), keep = 2 * rows / 3;
  std::vector<float> weights(static_cast<size_t>(rows));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = uniform(1, 2, i);
  std::vector<int32_t> kept(weights.size()), workspace(weights.size());
  const RowRange all{0, rows};
  for (auto _ : state) {
    router_top_k_cpu({weights.data(), weights.data(), &all, &keep, 1, kept.data(), workspace.data()},
                     benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 8 * static_cast<double>(rows), 0);
}
BENCHMARK(bm_router_top_k)->Arg(2048)->Arg(32768)->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
