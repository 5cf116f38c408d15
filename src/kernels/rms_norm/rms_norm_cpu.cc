#include <cstring>

#include "kernels/common/row_blocks.h"
#include "kernels/rms_norm/rms_norm_levels.h"

namespace fathom::kernels {

void rms_norm_fwd_cpu(const RmsNormFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(rms_norm_fwd_rows);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

int64_t rms_norm_bwd_workspace(int64_t rows, int64_t dim) { return row_blocks(rows) * dim; }

void rms_norm_bwd_cpu(const RmsNormBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(rms_norm_bwd_rows);
  parallel.run(row_blocks(args.rows), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = args.workspace + block * args.dim;
      std::memset(partial, 0, static_cast<size_t>(args.dim) * sizeof(float));
      const int64_t first = block * kRowBlock;
      rows_fn(args, first, first + kRowBlock < args.rows ? first + kRowBlock : args.rows, partial);
    }
  });
  reduce_row_blocks(args.workspace, row_blocks(args.rows), args.dim, args.grad_weight, parallel);
}

}  // namespace fathom::kernels
