#include <cstring>
#include <string>

#include "base/check.h"
#include "kernels/gather_rows/gather_rows_levels.h"

namespace fathom::kernels {

namespace {

void check_ascending(const int32_t* index, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) {
    FATHOM_CHECK(
        index[i] >= 0 && (i == 0 || index[i - 1] < index[i]),
        "row index " + std::to_string(index[i]) + " at place " + std::to_string(i) + " is not ascending");
  }
}

constexpr int64_t kGrain = 16;

}  // namespace

void gather_rows_cpu(const GatherRows& args, Parallel& parallel) {
  check_ascending(args.index, args.rows);
  parallel.run(args.rows, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(args.y + i * args.dim, args.x + args.index[i] * args.dim,
                  static_cast<size_t>(args.dim) * sizeof(float));
    }
  });
}

void scatter_add_rows_cpu(const ScatterAddRows& args, Parallel& parallel) {
  check_ascending(args.index, args.rows);
  const auto range_fn = FATHOM_SIMD_SELECT(scatter_add_range);
  parallel.run(args.rows, kGrain, [&](int64_t begin, int64_t end, int) { range_fn(args, begin, end); });
}

void scatter_add_rows_bwd_cpu(const ScatterAddRowsBwd& args, Parallel& parallel) {
  check_ascending(args.index, args.rows);
  const auto range_fn = FATHOM_SIMD_SELECT(scatter_add_bwd_range);
  parallel.run(args.rows, kGrain, [&](int64_t begin, int64_t end, int) { range_fn(args, begin, end); });
}

}  // namespace fathom::kernels
