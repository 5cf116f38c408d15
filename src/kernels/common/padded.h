// How the matrices of simd/products.h lie in scratch memory: the same at every level, so that their sizes are
// known outside of it.
#pragma once

#include <cstdint>

namespace fathom::kernels {

// Extents are multiples of this: of the vectors and of the tiles of every level.
constexpr int64_t kPad = 16;

// Always inlined, so that no level's object shares them.
[[gnu::always_inline]] constexpr int64_t padded(int64_t extent) { return (extent + kPad - 1) / kPad * kPad; }
// Elements between rows: an odd number of cache lines, so that a column's elements do not all fall into a few
// sets.
[[gnu::always_inline]] constexpr int64_t padded_stride(int64_t columns) {
  return padded(columns) + (padded(columns) / kPad % 2 == 0 ? kPad : 0);
}
[[gnu::always_inline]] constexpr int64_t padded_size(int64_t rows, int64_t columns) {
  return padded(rows) * padded_stride(columns);
}

}  // namespace fathom::kernels
