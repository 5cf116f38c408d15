#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/common/row_blocks.h"
#include "kernels/gated_memory/gated_memory_levels.h"

namespace fathom::kernels {

void gated_memory_fwd_cpu(const GatedMemoryFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(gated_memory_fwd_rows);
  parallel.run(args.rows, 8, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

int64_t gated_memory_bwd_workspace(int64_t rows, int64_t dim) { return row_blocks(rows) * dim; }

void gated_memory_bwd_cpu(const GatedMemoryBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(gated_memory_bwd_rows);
  const bool normalised = args.weight != nullptr;
  FATHOM_CHECK(!normalised || (args.rstd != nullptr && args.grad_weight != nullptr),
               "the normalised form needs the forward pass's rstd and a place for grad_weight");
  parallel.run(row_blocks(args.rows), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = normalised ? args.workspace + block * args.dim : nullptr;
      if (normalised) std::memset(partial, 0, static_cast<size_t>(args.dim) * sizeof(float));
      const int64_t first = block * kRowBlock;
      rows_fn(args, first, std::min(first + kRowBlock, args.rows), partial);
    }
  });
  if (normalised)
    reduce_row_blocks(args.workspace, row_blocks(args.rows), args.dim, args.grad_weight, parallel);
}

}  // namespace fathom::kernels
