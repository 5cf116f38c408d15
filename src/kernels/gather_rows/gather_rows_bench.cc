// Limit: memory. Gather reads and writes a row; scatter-add also reads its target; its backward reads two and
// writes one.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/gather_rows/gather_rows.h"

namespace fathom::kernels {
namespace {

// Every third row of the batch is left out.
struct Rows {
  Rows(int64_t rows, int64_t dim)
      : whole(static_cast<size_t>(3 * rows / 2 * dim + dim), 0.5F),
        kept(static_cast<size_t>(rows * dim), 0.5F),
        weights(static_cast<size_t>(rows), 0.1F) {
    for (int64_t i = 0; i < rows; ++i) index.push_back(static_cast<int32_t>(i + i / 2));
  }
  std::vector<float> whole, kept, weights;
  std::vector<int32_t> index;
};

void bm_gather_rows(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  Rows r(rows, dim);
  for (auto _ : state) {
    gather_rows_cpu({r.whole.data(), r.index.data(), r.kept.data(), rows, dim}, benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 8 * static_cast<double>(rows * dim), 0);
}
BENCHMARK(bm_gather_rows)->Args({1364, 960})->UseRealTime();

void bm_scatter_add_rows(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  Rows r(rows, dim);
  for (auto _ : state) {
    scatter_add_rows_cpu({r.kept.data(), r.index.data(), r.weights.data(), r.whole.data(), rows, dim},
                         benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * cells, 2 * cells);
}
BENCHMARK(bm_scatter_add_rows)->Args({1364, 960})->UseRealTime();

void bm_scatter_add_rows_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), dim = state.range(1);
  Rows r(rows, dim);
  std::vector<float> grad_x(r.kept.size()), grad_weights(r.weights.size());
  for (auto _ : state) {
    scatter_add_rows_bwd_cpu({r.kept.data(), r.index.data(), r.weights.data(), r.whole.data(), grad_x.data(),
                              grad_weights.data(), rows, dim},
                             benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * dim);
  benchmarking::report(state, 12 * cells, 3 * cells);
}
BENCHMARK(bm_scatter_add_rows_bwd)->Args({1364, 960})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
