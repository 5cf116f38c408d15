// Limits: one row moves the weights (memory), many rows multiply (the fused multiply-add peak).
#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "base/int4.h"
#include "kernels/common/benchmarking.h"
#include "kernels/linear/linear.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kBeyondCaches = int64_t{256} << 20;

// The last argument: 0 float, 1 bfloat16, 2 int8, above that the group of int4.
DType type_of(int64_t argument) {
  constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kI8};
  return argument < 3 ? kTypes[argument] : DType::kI4;
}

void bm_linear_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const DType type = type_of(state.range(3));
  const int64_t group = type == DType::kI4 ? state.range(3) : 0;
  const int64_t dense = out * row_bytes(type, in);
  const int64_t scales = type == DType::kI8 ? 4 * out : 0;
  const int64_t words = group > 0 ? 2 * out * int4::groups_of(in, group) : 0;
  const int64_t matrix = dense + scales + words;
  // Matrices come from memory, one after the other, as those of a model's layers do.
  const int64_t matrices = std::max<int64_t>(1, kBeyondCaches / matrix);
  AlignedBuffer x(rows * in * 4), y(rows * out * 4), weight(matrices * matrix),
      workspace(linear_fwd_workspace(rows, in, type));
  std::fill_n(x.as<float>(), rows * in, 0.5F);
  std::fill_n(weight.as<uint16_t>(), weight.bytes() / 2, to_bfloat16(0.01F).bits);
  int64_t next = 0;
  for (auto _ : state) {
    linear_fwd_cpu(
        {.x = x.as<float>(),
         .weight = weight.as() + next * matrix,
         .weight_type = type,
         .weight_scale = scales > 0 ? (const float*)(weight.as() + next * matrix + dense) : nullptr,
         .groups = words > 0 ? weight.as() + next * matrix + dense : nullptr,
         .group = group,
         .y = y.as<float>(),
         .rows = rows,
         .in = in,
         .out = out,
         .x_stride = in,
         .y_stride = out,
         .workspace = workspace.as()},
        benchmarking::pool());
    next = (next + 1) % matrices;
    benchmark::ClobberMemory();
  }
  const auto weights = static_cast<double>(in * out);
  benchmarking::report(state, static_cast<double>(matrix), 2.0 * static_cast<double>(rows) * weights, type);
}
BENCHMARK(bm_linear_fwd)
    ->ArgsProduct({{1, 4, 16, 512}, {960}, {2560}, {0, 1, 2, 32, 64, 128}})
    ->ArgsProduct({{1, 512}, {2560}, {960}, {0, 1, 2, 32, 64, 128}})
    ->ArgsProduct({{1, 512}, {7936}, {1984}, {0, 1, 2, 32, 64, 128}})
    ->Args({1, 960, 49152, 1})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
