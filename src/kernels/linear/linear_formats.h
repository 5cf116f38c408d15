// How inputs and weights of a type meet at a level. A step takes kStep inputs and their weights; a sum, one
// number in each lane, gets kParts multiply-adds of it, in the order of the parts. The *_n forms read the
// first n < kStep weights only. Whole numbers are summed for at most kMostSteps steps, then as floats.
// Included by linear_simd.cc alone, under the rules of simd/vec.h.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// A tile of accumulators takes most of the registers; the rest hold the operands. Up to kStreamRows rows
// memory is waited for, and the registers hold their accumulators of two outputs.
#if defined(FATHOM_HAS_AVX512)
constexpr int kWideTileRows = 4, kWideTileOuts = 6, kManyStreamRows = 8;
#else
constexpr int kWideTileRows = 3, kWideTileOuts = 4, kManyStreamRows = 3;
#endif

#define FATHOM_METHOD inline __attribute__((always_inline))

constexpr int64_t kLine = 64;          // bytes of a cache line
constexpr int64_t kFetchAhead = 1024;  // bytes of a sequence of weights that are on their way

FATHOM_INLINE void fetch(const char* from, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += kLine) __builtin_prefetch(from + line);
}

// Weights to fetch while others are multiplied: of each sequence those `distance` bytes on, or of one place
// `outs` times as many as the one output's that pass meanwhile.
struct Ahead {
  int64_t distance = 0;
  const char* weight = nullptr;
  int64_t outs = 0;

  // While an output's next `bytes` are multiplied.
  FATHOM_METHOD void fetch_elsewhere(int64_t bytes) {
    fetch(weight, outs * bytes);
    weight += outs * bytes;
  }
  FATHOM_METHOD void fetch_behind(const char* at, int64_t bytes) const {
    if (distance > 0) fetch(at + distance, bytes);
  }
};

// Float weights; inputs are read where they lie.
struct F32Format {
  static constexpr int kTileRows = kWideTileRows, kTileOuts = kWideTileOuts, kStreamRows = kManyStreamRows;
  static constexpr int kStep = kLanes, kParts = 1, kInputBytes = 4, kWeightBytes = 4;
  using Operand = Vec;
  using Sum = Vec;
  FATHOM_INLINE Vec input(const char* x, int) { return load((const float*)x); }
  FATHOM_INLINE Vec input_n(const char* x, int, int64_t n) { return load_n((const float*)x, n); }
  FATHOM_INLINE Vec weight(const char* w, int) { return load((const float*)w); }
  FATHOM_INLINE Vec weight_n(const char* w, int, int64_t n) { return load_n((const float*)w, n); }
  FATHOM_INLINE Vec multiply_add(Vec x, Vec w, Vec total) { return fma(x, w, total); }
};

// A step of bfloat16 weights: the lanes hold pairs of neighbours.
FATHOM_INLINE IVec load_pairs(const char* w) {
  IVec pairs;
  __builtin_memcpy(&pairs, w, sizeof pairs);
  return pairs;
}
FATHOM_INLINE IVec load_pairs_n(const char* w, int64_t n) {
#if defined(FATHOM_HAS_AVX512)
  return (IVec)_mm512_maskz_loadu_epi16((__mmask32)((1U << n) - 1), w);
#else
  uint16_t values[2 * kLanes] = {};
  for (int64_t i = 0; i < n; ++i) values[i] = ((const uint16_t*)w)[i];
  return load_pairs((const char*)values);
#endif
}

// Every lane adds the product of its second (odd) elements, then of its first, each rounded like a fused
// multiply-add: the definition of the dot instruction. So levels with the instruction and those of the same
// width without it give the same bits, but for denormal numbers, which the instruction takes for zero.
#if defined(FATHOM_SIMD_avx512_bf16)

struct Bf16Format {
  static constexpr int kTileRows = kWideTileRows, kTileOuts = kWideTileOuts, kStreamRows = kManyStreamRows;
  static constexpr int kStep = 2 * kLanes, kParts = 1, kInputBytes = 2, kWeightBytes = 2;
  using Operand = IVec;
  using Sum = Vec;
  FATHOM_INLINE IVec input(const char* x, int) { return load_pairs(x); }
  FATHOM_INLINE IVec input_n(const char* x, int, int64_t) { return load_pairs(x); }
  FATHOM_INLINE IVec weight(const char* w, int) { return load_pairs(w); }
  FATHOM_INLINE IVec weight_n(const char* w, int, int64_t n) { return load_pairs_n(w, n); }
  FATHOM_INLINE Vec multiply_add(IVec x, IVec w, Vec total) {
    return (Vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)x, (__m512bh)w);
  }
};

#else

// Both halves of the pairs are widened in registers. Inputs lie widened: of each step the odd ones, then the
// even ones. With 16 registers the mask that widening needs costs a column of the tile.
struct Bf16Format {
#if defined(FATHOM_HAS_AVX512)
  static constexpr int kTileRows = kWideTileRows, kTileOuts = kWideTileOuts;
#else
  static constexpr int kTileRows = 3, kTileOuts = 3;
#endif
  static constexpr int kStreamRows = kManyStreamRows < 6 ? kManyStreamRows : 6;
  static constexpr int kStep = 2 * kLanes, kParts = 2, kInputBytes = 4, kWeightBytes = 2;
  using Operand = Vec;
  using Sum = Vec;
  FATHOM_INLINE Vec half(IVec pairs, int part) {
    return part == 0 ? (Vec)(pairs & (int32_t)0xffff0000) : (Vec)(pairs << 16);
  }
  FATHOM_INLINE Vec input(const char* x, int part) { return load((const float*)x + part * kLanes); }
  FATHOM_INLINE Vec input_n(const char* x, int part, int64_t) { return input(x, part); }
  FATHOM_INLINE Vec weight(const char* w, int part) { return half(load_pairs(w), part); }
  FATHOM_INLINE Vec weight_n(const char* w, int part, int64_t n) { return half(load_pairs_n(w, n), part); }
  FATHOM_INLINE Vec multiply_add(Vec x, Vec w, Vec total) { return fma(x, w, total); }
};

#endif

// Int8 weights, widened in registers to 16 bits, times whole numbers of 16 bits. A lane adds both products of
// a pair of neighbours: at most 2 * 32767 * 128, of which 256 fit into 31 bits. With 16 registers
// four rows share what widening three weights costs.
struct Int8Format {
#if defined(FATHOM_HAS_AVX512)
  static constexpr int kTileRows = kWideTileRows, kTileOuts = kWideTileOuts, kStreamRows = 6;
#else
  static constexpr int kTileRows = 4, kTileOuts = 3, kStreamRows = 3;
#endif
  static constexpr int kStep = 2 * kLanes, kParts = 1, kInputBytes = 2, kWeightBytes = 1;
  static constexpr int64_t kMostSteps = 256;
  using Operand = IVec;
  using Sum = IVec;
  FATHOM_INLINE IVec input(const char* x, int) { return load_pairs(x); }
  FATHOM_INLINE IVec input_n(const char* x, int, int64_t) { return load_pairs(x); }
  FATHOM_INLINE IVec weight(const char* w, int) {
#if defined(FATHOM_HAS_AVX512)
    return (IVec)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)w));
#elif defined(FATHOM_SIMD_avx2)
    return (IVec)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)w));
#else
    int16_t wide[kStep];
    for (int i = 0; i < kStep; ++i) wide[i] = ((const int8_t*)w)[i];
    return load_pairs((const char*)wide);
#endif
  }
  FATHOM_INLINE IVec weight_n(const char* w, int part, int64_t n) {
    char values[kStep] = {};
    for (int64_t i = 0; i < n; ++i) values[i] = w[i];
    return weight(values, part);
  }
  FATHOM_INLINE IVec multiply_add(IVec x, IVec w, IVec total) {
#if defined(FATHOM_SIMD_avx512_bf16)
    return (IVec)_mm512_dpwssd_epi32((__m512i)total, (__m512i)x, (__m512i)w);
#elif defined(FATHOM_HAS_AVX512)
    return total + (IVec)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif defined(FATHOM_SIMD_avx2)
    return total + (IVec)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#else
    return total + (x >> 16) * (w >> 16) + (x << 16 >> 16) * (w << 16 >> 16);
#endif
  }
};

// Int4 weights (linear_groups.h).
struct Int4Format {
#if defined(FATHOM_HAS_AVX512)
  static constexpr int kTileRows = 4, kTileOuts = 4, kStreamRows = 3;
#else
  static constexpr int kTileRows = 4, kTileOuts = 2, kStreamRows = 3;
#endif
};

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
