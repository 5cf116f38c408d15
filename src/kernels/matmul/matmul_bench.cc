// Limit: arithmetic, two operations a multiply-add; kF32DoubleSums sums in double, which is half as fast at
// best. The shapes are those of training a model of width 576.
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/common/benchmarking.h"
#include "kernels/matmul/matmul.h"

namespace fathom::kernels {
namespace {

// rows, columns, k; operands transposed as in y = x W^T (0), dx = dy W (1), dW = dy^T x (2); precision:
// kF32DoubleSums (0), kF32 (1), kBF16 (2).
void bm_matmul(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1), k = state.range(2), form = state.range(3);
  const auto precision = static_cast<MatmulPrecision>(state.range(4));
  const std::vector<float> a(static_cast<size_t>(rows * k), 0.5F), b(static_cast<size_t>(columns * k), 0.5F);
  std::vector<float> c(static_cast<size_t>(rows * columns));
  AlignedBuffer packed_a(matmul_packed_bytes(rows, k, MatmulSide::kRows, precision)),
      packed_b(matmul_packed_bytes(columns, k, MatmulSide::kColumns, precision));
  for (auto _ : state) {
    matmul_pack_cpu({a.data(), rows, k, form == 2 ? rows : k, form == 2}, MatmulSide::kRows, precision,
                    packed_a.as(), benchmarking::pool());
    matmul_pack_cpu({b.data(), columns, k, form == 0 ? k : columns, form != 0}, MatmulSide::kColumns,
                    precision, packed_b.as(), benchmarking::pool());
    matmul_cpu({.a = packed_a.as(),
                .b = packed_b.as(),
                .c = c.data(),
                .rows = rows,
                .columns = columns,
                .k = k,
                .c_stride = columns,
                .precision = precision},
               benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 4.0 * static_cast<double>(rows * k + columns * k + rows * columns),
                       2.0 * static_cast<double>(rows * columns * k),
                       precision == MatmulPrecision::kBF16 ? DType::kBF16 : DType::kF32);
}
BENCHMARK(bm_matmul)
    ->ArgNames({"rows", "columns", "k", "form", "precision"})
    ->ArgsProduct({{1024}, {576, 1536}, {576, 1536}, {0, 1}, {0, 2}})
    ->Args({1536, 576, 1024, 2, 1})
    ->Args({1536, 576, 1024, 2, 2})
    ->Args({512, 192, 4096, 2, 2})
    ->Args({256, 256, 32768, 2, 1})
    ->Args({704, 256, 32768, 2, 1})
    ->Args({32768, 704, 256, 0, 1})
    ->Args({4096, 512, 192, 0, 2})
    ->Args({4096, 192, 512, 0, 2})
    ->Args({2048, 2048, 2048, 0, 0})
    ->Args({2048, 2048, 2048, 0, 1})
    ->Args({2048, 2048, 2048, 0, 2})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
