#include <cstring>

#include "kernels/common/row_blocks.h"
#include "kernels/layer_norm/layer_norm_levels.h"

namespace fathom::kernels {

void layer_norm_fwd_cpu(const LayerNormFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(layer_norm_fwd_rows);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

int64_t layer_norm_bwd_workspace(int64_t rows, int64_t dim) { return 2 * row_blocks(rows) * dim; }

void layer_norm_bwd_cpu(const LayerNormBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(layer_norm_bwd_rows);
  const int64_t blocks = row_blocks(args.rows);
  float* partial_bias = args.workspace + blocks * args.dim;
  parallel.run(blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* weight = args.workspace + block * args.dim;
      float* bias = partial_bias + block * args.dim;
      std::memset(weight, 0, static_cast<size_t>(args.dim) * sizeof(float));
      std::memset(bias, 0, static_cast<size_t>(args.dim) * sizeof(float));
      const int64_t first = block * kRowBlock;
      rows_fn(args, first, first + kRowBlock < args.rows ? first + kRowBlock : args.rows, weight, bias);
    }
  });
  reduce_row_blocks(args.workspace, blocks, args.dim, args.grad_weight, parallel);
  reduce_row_blocks(partial_bias, blocks, args.dim, args.grad_bias, parallel);
}

}  // namespace fathom::kernels
