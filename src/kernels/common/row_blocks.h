// Weight gradients that are sums over rows: rows are cut into fixed blocks, each block sums its own rows in
// order, and the blocks are added in order. The result does not depend on the number of threads.
#pragma once

#include <cstdint>

#include "base/extents.h"
#include "base/parallel.h"

namespace fathom::kernels {

constexpr int64_t kRowBlock = 64;

inline int64_t row_blocks(int64_t rows) { return ceil_div(rows, kRowBlock); }

// out[d] = sum_b partial[b, d] in the order of b; partial is [blocks, dim], out [dim] is overwritten.
void reduce_row_blocks(const float* partial, int64_t blocks, int64_t dim, float* out, Parallel& parallel);

}  // namespace fathom::kernels
