// Limit: memory. Forward copies rows; backward clears the table and adds rows to it.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/embedding/embedding.h"

namespace fathom::kernels {
namespace {

struct Arrays {
  Arrays(int64_t rows, int64_t vocab, int64_t dim)
      : table(static_cast<size_t>(vocab * dim), 0.5F), rows_of(static_cast<size_t>(rows * dim), 0.5F) {
    for (int64_t r = 0; r < rows; ++r) ids.push_back(static_cast<int32_t>(r * 7919 % vocab));
  }
  std::vector<float> table, rows_of;
  std::vector<int32_t> ids;
};

void bm_embedding_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), vocab = state.range(1), dim = state.range(2);
  Arrays a(rows, vocab, dim);
  for (auto _ : state) {
    embedding_fwd_cpu({a.ids.data(), a.table.data(), DType::kF32, a.rows_of.data(), rows, dim, vocab},
                      benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 8.0 * static_cast<double>(rows * dim), 0);
}
BENCHMARK(bm_embedding_fwd)->Args({1, 49152, 960})->Args({512, 49152, 960})->UseRealTime();

void bm_embedding_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), vocab = state.range(1), dim = state.range(2);
  Arrays a(rows, vocab, dim);
  for (auto _ : state) {
    embedding_bwd_cpu({a.ids.data(), a.rows_of.data(), a.table.data(), rows, dim, vocab},
                      benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 4.0 * static_cast<double>(vocab * dim + 3 * rows * dim),
                       static_cast<double>(rows * dim));
}
BENCHMARK(bm_embedding_bwd)->Args({4096, 4096, 256})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
