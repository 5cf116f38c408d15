#include <algorithm>
#include <cstring>

#include "kernels/common/row_blocks.h"
#include "kernels/scale_columns/scale_columns_levels.h"

namespace fathom::kernels {

void scale_columns_fwd_cpu(const ScaleColumnsFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(scale_columns_fwd_rows);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

int64_t scale_columns_bwd_workspace(int64_t rows, int64_t dim) { return row_blocks(rows) * dim; }

void scale_columns_bwd_cpu(const ScaleColumnsBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(scale_columns_bwd_rows);
  parallel.run(row_blocks(args.rows), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = args.workspace + block * args.dim;
      std::memset(partial, 0, static_cast<size_t>(args.dim) * sizeof(float));
      const int64_t first = block * kRowBlock;
      rows_fn(args, first, std::min(first + kRowBlock, args.rows), partial);
    }
  });
  reduce_row_blocks(args.workspace, row_blocks(args.rows), args.dim, args.grad_scale, parallel);
}

}  // namespace fathom::kernels
