// Columns of a row-major array as vectors whose lanes are rows, through a transposition in registers.
// Included by *_simd.cc files only, under the rules of vec.h.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

// Lane j of merge_low is b[j - step] where j has the bit `step`, else a[j]; of merge_high b[j], else a[j +
// step].
#define FATHOM_LOW(j, step) (((j) & (step)) != 0 ? kLanes + (j) - (step) : (j))
#define FATHOM_HIGH(j, step) (((j) & (step)) != 0 ? kLanes + (j) : (j) + (step))
#define FATHOM_EACH_4(pick, step, j) \
  pick((j), step), pick((j) + 1, step), pick((j) + 2, step), pick((j) + 3, step)
#define FATHOM_EACH_8(pick, step, j) FATHOM_EACH_4(pick, step, j), FATHOM_EACH_4(pick, step, (j) + 4)
#if defined(FATHOM_HAS_AVX512)
#define FATHOM_EACH(pick, step) FATHOM_EACH_8(pick, step, 0), FATHOM_EACH_8(pick, step, 8)
#elif defined(FATHOM_SIMD_avx2)
#define FATHOM_EACH(pick, step) FATHOM_EACH_8(pick, step, 0)
#else
#define FATHOM_EACH(pick, step) FATHOM_EACH_4(pick, step, 0)
#endif

template <int kStep>
FATHOM_INLINE void transpose_step(Vec* tile) {
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kStep) != 0) continue;
    const Vec a = tile[i], b = tile[i + kStep];
    tile[i] = __builtin_shufflevector(a, b, FATHOM_EACH(FATHOM_LOW, kStep));
    tile[i + kStep] = __builtin_shufflevector(a, b, FATHOM_EACH(FATHOM_HIGH, kStep));
  }
}

#undef FATHOM_EACH
#undef FATHOM_EACH_8
#undef FATHOM_EACH_4
#undef FATHOM_HIGH
#undef FATHOM_LOW

// Lane j of tile[i] and lane i of tile[j] change places; kLanes vectors.
FATHOM_INLINE void transpose(Vec* tile) {
  transpose_step<1>(tile);
  transpose_step<2>(tile);
  if constexpr (kLanes > 4) transpose_step<4>(tile);
  if constexpr (kLanes > 8) transpose_step<8>(tile);
}

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
