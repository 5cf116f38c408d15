// Operands as pairs of bfloat16, two to a lane. Included by attention_simd.cc only.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// The first of a pair lies in the low half of the lane.
FATHOM_INLINE Vec first_of_pair(Vec pair) { return (Vec)((IVec)pair << 16); }
FATHOM_INLINE Vec second_of_pair(Vec pair) { return (Vec)((IVec)pair & (int32_t)0xffff0000); }

// Rounded to bfloat16; denormal numbers may become zero, for which the product takes them.
FATHOM_INLINE HVec halves(Vec v) {
#if defined(FATHOM_SIMD_avx512_bf16)
  return (HVec)_mm512_cvtneps_pbh((__m512)v);
#else
  return to_bf16(v);
#endif
}

// Adds the product of the seconds, then that of the firsts, each rounded like a fused multiply-add.
FATHOM_INLINE Vec add_product_of_pairs(Vec a, Vec b, Vec total) {
#if defined(FATHOM_SIMD_avx512_bf16)
  return (Vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)a, (__m512bh)b);
#else
  total = fma(second_of_pair(a), second_of_pair(b), total);
  return fma(first_of_pair(a), first_of_pair(b), total);
#endif
}

// Neighbours in `rows` rows of `n` floats, a whole number of vectors, become pairs.
FATHOM_INLINE void pair_neighbours(const float* from, int64_t from_row, int64_t rows, int64_t n, float* to,
                                   int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t at = 0; at < n; at += kLanes) {
      const HVec neighbours = halves(load(from + i * from_row + at));
      __builtin_memcpy(to + i * to_row + at / 2, &neighbours, sizeof neighbours);
    }
  }
}

// Rows 2i and 2i + 1 of `width` floats, a whole number of vectors, become the pairs of row i, in place. Rows
// outside of [begin, end) count as zeros; they may hold anything.
FATHOM_INLINE void pair_rows(float* rows, int64_t begin, int64_t end, int64_t width) {
  for (int64_t i = begin / 2; 2 * i < end; ++i) {
    const float* const first = rows + 2 * i * width;
    for (int64_t n = 0; n < width; n += kLanes) {
      const Vec even = 2 * i >= begin ? load(first + n) : Vec{};
      const Vec odd = 2 * i + 1 < end ? load(first + width + n) : Vec{};
      store(rows + i * width + n, (Vec)(widened(halves(even)) | widened(halves(odd)) << 16));
    }
  }
}

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
