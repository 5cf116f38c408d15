// Columns of a row-major array as vectors whose lanes are rows, through a transposition in registers.
// Included by *_simd.cc files only, under the rules of vec.h.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

// Which lane of the pair (a, b) goes to lane j; those of b count from kLanes on.
// The first (high: last) two of every four lanes of a and b, one by one.
#define FATHOM_ONES(j, high) ((((j)&1) != 0 ? kLanes : 0) + ((j) & ~3) + (((j)&3) >> 1) + 2 * (high))
// The same two by two.
#define FATHOM_TWOS(j, high) ((((j)&2) != 0 ? kLanes : 0) + ((j) & ~3) + ((j)&1) + 2 * (high))
// The first (last) half of a, then that of b.
#define FATHOM_HALVES(j, high) \
  ((j) < kLanes / 2 ? (j) + (high) * (kLanes / 2) : kLanes / 2 + (j) + (high) * (kLanes / 2))
// Fours of lanes with even (odd) numbers: first those of a, then those of b.
#define FATHOM_FOURS(j, odd) \
  (((j) < kLanes / 2 ? 2 * ((j) & ~3) : kLanes + 2 * (((j) & ~3) - kLanes / 2)) + ((j)&3) + 4 * (odd))
#define FATHOM_EACH_4(pick, which, j) \
  pick((j), which), pick((j) + 1, which), pick((j) + 2, which), pick((j) + 3, which)
#define FATHOM_EACH_8(pick, which, j) FATHOM_EACH_4(pick, which, j), FATHOM_EACH_4(pick, which, (j) + 4)
#if defined(FATHOM_HAS_AVX512)
#define FATHOM_EACH(pick, which) FATHOM_EACH_8(pick, which, 0), FATHOM_EACH_8(pick, which, 8)
#elif defined(FATHOM_SIMD_avx2)
#define FATHOM_EACH(pick, which) FATHOM_EACH_8(pick, which, 0)
#else
#define FATHOM_EACH(pick, which) FATHOM_EACH_4(pick, which, 0)
#endif
#define FATHOM_MERGE(a, b, pick, which) __builtin_shufflevector(a, b, FATHOM_EACH(pick, which))

// Lane j of tile[i] and lane i of tile[j] change places; kLanes vectors. Every shuffle is one instruction
// without a table of lanes: first four by four inside the 128-bit parts, then whole parts.
FATHOM_INLINE void transpose(Vec* tile) {
  for (int i = 0; i < kLanes; i += 4) {
    const Vec a = FATHOM_MERGE(tile[i], tile[i + 1], FATHOM_ONES, 0);
    const Vec b = FATHOM_MERGE(tile[i], tile[i + 1], FATHOM_ONES, 1);
    const Vec c = FATHOM_MERGE(tile[i + 2], tile[i + 3], FATHOM_ONES, 0);
    const Vec d = FATHOM_MERGE(tile[i + 2], tile[i + 3], FATHOM_ONES, 1);
    tile[i] = FATHOM_MERGE(a, c, FATHOM_TWOS, 0);
    tile[i + 1] = FATHOM_MERGE(a, c, FATHOM_TWOS, 1);
    tile[i + 2] = FATHOM_MERGE(b, d, FATHOM_TWOS, 0);
    tile[i + 3] = FATHOM_MERGE(b, d, FATHOM_TWOS, 1);
  }
#if defined(FATHOM_HAS_AVX512)
  for (int i = 0; i < 4; ++i) {
    const Vec a = FATHOM_MERGE(tile[i], tile[i + 4], FATHOM_HALVES, 0);
    const Vec b = FATHOM_MERGE(tile[i], tile[i + 4], FATHOM_HALVES, 1);
    const Vec c = FATHOM_MERGE(tile[i + 8], tile[i + 12], FATHOM_HALVES, 0);
    const Vec d = FATHOM_MERGE(tile[i + 8], tile[i + 12], FATHOM_HALVES, 1);
    tile[i] = FATHOM_MERGE(a, c, FATHOM_FOURS, 0);
    tile[i + 4] = FATHOM_MERGE(a, c, FATHOM_FOURS, 1);
    tile[i + 8] = FATHOM_MERGE(b, d, FATHOM_FOURS, 0);
    tile[i + 12] = FATHOM_MERGE(b, d, FATHOM_FOURS, 1);
  }
#elif defined(FATHOM_SIMD_avx2)
  for (int i = 0; i < 4; ++i) {
    const Vec a = tile[i], b = tile[i + 4];
    tile[i] = FATHOM_MERGE(a, b, FATHOM_HALVES, 0);
    tile[i + 4] = FATHOM_MERGE(a, b, FATHOM_HALVES, 1);
  }
#endif
}

#undef FATHOM_MERGE
#undef FATHOM_EACH
#undef FATHOM_EACH_8
#undef FATHOM_EACH_4
#undef FATHOM_FOURS
#undef FATHOM_HALVES
#undef FATHOM_TWOS
#undef FATHOM_ONES

// column[k], k < count, has element (i, k) of `rows` rows that lie `stride` apart in lane i; lanes from
// `rows` on are 0. `column` has room for count rounded up to kLanes.
FATHOM_INLINE void load_columns(const float* base, int64_t stride, int64_t rows, int64_t count, Vec* column) {
  for (int64_t k = 0; k < count; k += kLanes) {
    const int64_t n = lanes_left(count - k);
    for (int i = 0; i < kLanes; ++i) column[k + i] = i < rows ? load_n(base + i * stride + k, n) : Vec{};
    transpose(column + k);
  }
}

// The inverse.
FATHOM_INLINE void store_columns(float* base, int64_t stride, int64_t rows, int64_t count,
                                 const Vec* column) {
  for (int64_t k = 0; k < count; k += kLanes) {
    const int64_t n = lanes_left(count - k);
    Vec tile[kLanes];
    for (int i = 0; i < kLanes; ++i) tile[i] = column[k + i];
    transpose(tile);
    for (int i = 0; i < kLanes && i < rows; ++i) store_n(base + i * stride + k, tile[i], n);
  }
}

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
