#include <algorithm>

#include "base/check.h"
#include "kernels/linear/linear_levels.h"

namespace fathom::kernels {

namespace {

// Rows that stay in the second-level cache while all weights of a thread pass by.
constexpr int64_t kRowBytes = 128 * 1024;
constexpr int64_t kOutGrain = 32;

int64_t rows_per_block(int64_t in) {
  const int64_t rows = kRowBytes / (std::max<int64_t>(1, in) * static_cast<int64_t>(sizeof(float)));
  return std::clamp<int64_t>(rows / 6 * 6, 6, kLinearRowBlock);  // a multiple of every level's tile
}

}  // namespace

int64_t linear_fwd_workspace(int64_t rows, int64_t in, DType weight_type) {
  return weight_type == DType::kBF16 ? rows * in * static_cast<int64_t>(sizeof(float)) : 0;
}

void linear_fwd_cpu(const LinearFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.weight_type == DType::kF32 || args.weight_type == DType::kBF16,
               "weights are f32 or bf16");
  FATHOM_CHECK(args.x_stride >= args.in && args.y_stride >= args.out, "rows overlap");
  LinearFwd rounded = args;
  if (args.weight_type == DType::kBF16) {
    const auto round_fn = FATHOM_SIMD_SELECT(linear_round_row);
    auto* copy = static_cast<float*>(args.workspace);
    parallel.run(args.rows, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) round_fn(args.x + r * args.x_stride, copy + r * args.in, args.in);
    });
    rounded.x = copy;
    rounded.x_stride = args.in;
  }
  const auto block_fn = FATHOM_SIMD_SELECT(linear_fwd_block);
  const int64_t step = rows_per_block(args.in);
  parallel.run(args.out, kOutGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = 0; row < args.rows; row += step) {
      block_fn(rounded, row, std::min(row + step, args.rows), begin, end);
    }
  });
}

}  // namespace fathom::kernels
