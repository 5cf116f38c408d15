// A vector of floats as wide as the level being compiled, written with the compiler's vector extensions: one
// source serves every instruction set. Included by *_simd.cc files only. Everything here is static and always
// inlined, so an object file of one level defines nothing that another level could pick up.
//
// Where the compiler makes several instructions of a conversion there is an intrinsic.
//
//   Vec            kLanes floats; + - * / and comparisons work lane by lane
//   load/store     unaligned; the *_n forms touch the first n lanes only (missing lanes load as 0)
//   fma(a, b, c)   a * b + c, rounded once where the level has the instruction
//   Wide           kLanes / 2 doubles, for sums that need more than a float
//   sum(v)         one fixed tree order per level; sum_each: the sums of kLanes vectors, in that order
#pragma once

#include <stdint.h>
#include <string.h>

#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef FATHOM_SIMD_LEVEL
#error "a *_simd.cc file is compiled by fathom_simd_sources(), once per level"
#endif

#define FATHOM_INLINE static inline __attribute__((always_inline))

namespace fathom::simd::FATHOM_SIMD_LEVEL {

#if defined(FATHOM_SIMD_avx512) || defined(FATHOM_SIMD_avx512_bf16)
#define FATHOM_HAS_AVX512 1
constexpr int kLanes = 16;
#elif defined(FATHOM_SIMD_avx2)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t HVec __attribute__((vector_size(kLanes * 2)));

FATHOM_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FATHOM_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

// The number of each lane.
FATHOM_INLINE IVec lane_numbers() {
  IVec index;
  for (int i = 0; i < kLanes; ++i) index[i] = i;
  return index;
}
// Lanes 0..n-1 all ones, the rest zero.
FATHOM_INLINE IVec first_lanes(int64_t n) { return (IVec)(lane_numbers() < (int32_t)n); }

FATHOM_INLINE Vec load_n(const float* p, int64_t n) {
#if defined(FATHOM_HAS_AVX512)
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
#else
  if (n >= kLanes) return load(p);
#if defined(FATHOM_SIMD_avx2)
  return (Vec)_mm256_maskload_ps(p, (__m256i)first_lanes(n));
#else
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
#endif
}
FATHOM_INLINE void store_n(float* p, Vec v, int64_t n) {
#if defined(FATHOM_HAS_AVX512)
  if (n >= kLanes) return store(p, v);
  _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), (__m512)v);
#else
  if (n >= kLanes) return store(p, v);
#if defined(FATHOM_SIMD_avx2)
  _mm256_maskstore_ps(p, (__m256i)first_lanes(n), (__m256)v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
#endif
}

FATHOM_INLINE Vec broadcast(float x) { return x - Vec{}; }

FATHOM_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(FATHOM_HAS_AVX512)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(FATHOM_SIMD_avx2)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

FATHOM_INLINE Vec select(IVec mask, Vec yes, Vec no) {
  return (Vec)((mask & (IVec)yes) | (~mask & (IVec)no));
}
// a > b ? a : b and a < b ? a : b: the second argument where either is NaN, which is what the instructions
// do.
FATHOM_INLINE Vec max(Vec a, Vec b) {
#if defined(FATHOM_HAS_AVX512)
  return (Vec)_mm512_maskz_max_ps((__mmask16)0xffff, (__m512)a, (__m512)b);
#elif defined(FATHOM_SIMD_avx2)
  return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return select(a > b, a, b);
#endif
}
FATHOM_INLINE Vec min(Vec a, Vec b) {
#if defined(FATHOM_HAS_AVX512)
  return (Vec)_mm512_maskz_min_ps((__mmask16)0xffff, (__m512)a, (__m512)b);
#elif defined(FATHOM_SIMD_avx2)
  return (Vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return select(a < b, a, b);
#endif
}

// How many lanes a step may touch when `remaining` elements are left: the count the *_n forms expect.
FATHOM_INLINE int64_t lanes_left(int64_t remaining) { return remaining < kLanes ? remaining : kLanes; }

// v with the lanes of each pair of neighbouring groups of `step` exchanged.
template <int kStep, int... lane>
FATHOM_INLINE Vec exchange_lanes(Vec v, std::integer_sequence<int, lane...> /*all*/) {
  return __builtin_shufflevector(v, v, (lane ^ kStep)...);
}
template <int kStep>
FATHOM_INLINE Vec exchange(Vec v) {
  return exchange_lanes<kStep>(v, std::make_integer_sequence<int, kLanes>());
}
FATHOM_INLINE float sum(Vec v) {
  if constexpr (kLanes > 8) v = v + exchange<8>(v);
  if constexpr (kLanes > 4) v = v + exchange<4>(v);
  v = v + exchange<2>(v);
  v = v + exchange<1>(v);
  return v[0];
}
// Lane i is sum(v[i]), in the same tree order, by halving vectors two at a time.
FATHOM_INLINE Vec sum_each(const Vec* v) {
#define FATHOM_FOLD(a, b, low, high) \
  (__builtin_shufflevector(a, b, FATHOM_LIST low) + __builtin_shufflevector(a, b, FATHOM_LIST high))
#define FATHOM_LIST(...) __VA_ARGS__
#if defined(FATHOM_HAS_AVX512)
  Vec eights[8], quads[4], pairs[2];
  for (int i = 0; i < 8; ++i) {
    eights[i] = FATHOM_FOLD(v[i], v[i + 8], (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                            (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  }
  for (int i = 0; i < 4; ++i) {
    quads[i] =
        FATHOM_FOLD(eights[i], eights[i + 4], (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
                    (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
  }
  for (int i = 0; i < 2; ++i) {
    pairs[i] = FATHOM_FOLD(quads[2 * i], quads[2 * i + 1],
                           (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
                           (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
  }
  return FATHOM_FOLD(pairs[0], pairs[1], (0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30),
                     (1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31));
#elif defined(FATHOM_SIMD_avx2)
  Vec quads[4], pairs[2];
  for (int i = 0; i < 4; ++i) {
    quads[i] = FATHOM_FOLD(v[i], v[i + 4], (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15));
  }
  for (int i = 0; i < 2; ++i) {
    pairs[i] =
        FATHOM_FOLD(quads[2 * i], quads[2 * i + 1], (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15));
  }
  return FATHOM_FOLD(pairs[0], pairs[1], (0, 2, 8, 10, 4, 6, 12, 14), (1, 3, 9, 11, 5, 7, 13, 15));
#else
  const Vec first = FATHOM_FOLD(v[0], v[1], (0, 1, 4, 5), (2, 3, 6, 7));
  const Vec second = FATHOM_FOLD(v[2], v[3], (0, 1, 4, 5), (2, 3, 6, 7));
  return FATHOM_FOLD(first, second, (0, 2, 4, 6), (1, 3, 5, 7));
#endif
#undef FATHOM_FOLD
#undef FATHOM_LIST
}
FATHOM_INLINE float max_lane(Vec v) {
  if constexpr (kLanes > 8) v = max(v, exchange<8>(v));
  if constexpr (kLanes > 4) v = max(v, exchange<4>(v));
  v = max(v, exchange<2>(v));
  v = max(v, exchange<1>(v));
  return v[0];
}

// Sums that a float cannot hold: kLanes / 2 doubles in a register of the same size. A product of two floats
// is exact in double, so fused and not fused give the same bits here.
typedef double Wide __attribute__((vector_size(kLanes * 4)));

// Half a vector of floats as doubles.
typedef float HalfVec __attribute__((vector_size(kLanes * 2)));
FATHOM_INLINE Wide widened(HalfVec half) {
#if defined(FATHOM_HAS_AVX512)
  return (Wide)_mm512_maskz_cvtps_pd((__mmask8)0xff, (__m256)half);
#elif defined(FATHOM_SIMD_avx2)
  return (Wide)_mm256_cvtps_pd((__m128)half);
#else
  return __builtin_convertvector(half, Wide);
#endif
}
FATHOM_INLINE Wide load_wide(const float* p) {
  HalfVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return widened(v);
}
FATHOM_INLINE Wide broadcast_wide(double x) { return x - Wide{}; }
FATHOM_INLINE Wide fma(Wide a, Wide b, Wide c) {
#if defined(FATHOM_HAS_AVX512)
  return (Wide)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(FATHOM_SIMD_avx2)
  return (Wide)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}
// Rounded to float, the lanes of low first; and back.
FATHOM_INLINE Vec narrow(Wide low, Wide high) {
#if defined(FATHOM_HAS_AVX512)
  const HalfVec halves[2] = {(HalfVec)_mm512_maskz_cvtpd_ps((__mmask8)0xff, (__m512d)low),
                             (HalfVec)_mm512_maskz_cvtpd_ps((__mmask8)0xff, (__m512d)high)};
#elif defined(FATHOM_SIMD_avx2)
  const HalfVec halves[2] = {(HalfVec)_mm256_cvtpd_ps((__m256d)low), (HalfVec)_mm256_cvtpd_ps((__m256d)high)};
#else
  const HalfVec halves[2] = {__builtin_convertvector(low, HalfVec), __builtin_convertvector(high, HalfVec)};
#endif
  Vec v;
  __builtin_memcpy(&v, halves, sizeof v);
  return v;
}
FATHOM_INLINE void widen(Vec v, Wide* low, Wide* high) {
  HalfVec halves[2];
  __builtin_memcpy(halves, &v, sizeof v);
  *low = widened(halves[0]);
  *high = widened(halves[1]);
}

// Each half in a lane of its own, zeros above it.
FATHOM_INLINE IVec widened(HVec h) {
#if defined(FATHOM_HAS_AVX512)
  return (IVec)_mm512_maskz_cvtepu16_epi32((__mmask16)0xffff, (__m256i)h);
#elif defined(FATHOM_SIMD_avx2)
  return (IVec)_mm256_cvtepu16_epi32((__m128i)h);
#else
  return __builtin_convertvector(h, IVec);
#endif
}

// bfloat16 <-> float, round to nearest even (as base/half.h).
FATHOM_INLINE Vec load_bf16(const void* p) {
  HVec h;
  __builtin_memcpy(&h, p, sizeof h);
  return (Vec)(widened(h) << 16);
}
FATHOM_INLINE Vec load_bf16_n(const void* p, int64_t n) {
  if (n >= kLanes) return load_bf16(p);
  HVec h = {};
  for (int64_t i = 0; i < n; ++i) h[i] = ((const uint16_t*)p)[i];
  return (Vec)(widened(h) << 16);
}
FATHOM_INLINE HVec to_bf16(Vec v) {
  typedef uint32_t UVec __attribute__((vector_size(kLanes * 4)));
  const UVec bits = (UVec)v;
  const UVec rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const UVec quiet = (bits >> 16) | 0x40U;
  const IVec is_nan = v != v;
  const UVec out = ((UVec)is_nan & quiet) | (~(UVec)is_nan & rounded);
  return __builtin_convertvector(out, HVec);
}
FATHOM_INLINE void store_bf16(void* p, Vec v) {
  const HVec h = to_bf16(v);
  __builtin_memcpy(p, &h, sizeof h);
}
FATHOM_INLINE void store_bf16_n(void* p, Vec v, int64_t n) {
  const HVec h = to_bf16(v);
  if (n >= kLanes) {
    __builtin_memcpy(p, &h, sizeof h);
    return;
  }
  for (int64_t i = 0; i < n; ++i) ((uint16_t*)p)[i] = h[i];
}

// e^x to about 1 ulp: range reduction by ln 2 in two parts, degree-6 polynomial on [-ln2/2, ln2/2].
// x <= -87.34 gives 0, x >= 88.73 gives infinity, NaN stays NaN.
FATHOM_INLINE Vec exp(Vec x) {
  const Vec scaled = x * 1.44269504088896341F;
  const Vec magic = broadcast(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec n = (scaled + magic) - magic;
  Vec r = fma(n, broadcast(-0.693359375F), x);
  r = fma(n, broadcast(2.12194440e-4F), r);
  Vec p = broadcast(1.3981999507e-3F);
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  p = fma(p * r, r, r) + 1.0F;
  // 2^n in two factors, so that n = 128 and the smallest normals do not overflow the exponent field.
  const Vec clamped = max(min(n, broadcast(254.0F)), broadcast(-252.0F));
  const IVec whole = __builtin_convertvector(clamped, IVec);
  const IVec first = whole >> 1;
  const IVec second = whole - first;
  Vec result = p * (Vec)((first + 127) << 23);
  result = result * (Vec)((second + 127) << 23);
  result = select(x <= -87.33654F, Vec{}, result);
  result = select(x >= 88.72284F, broadcast(__builtin_inff()), result);
  return select(x != x, x, result);
}

// 2^t of kCount vectors, t <= 0, in place and step by step, so that no vector waits for the one before. To
// about 1 ulp; t below -126.5 gives 0, NaN stays NaN. A third of the instructions of exp: no split of ln 2,
// no large results, and one shift builds the power of two (an exponent field of 0 is the zero).
template <int kCount>
FATHOM_INLINE void exp2_nonpositive_each(Vec* t) {
  // Interpolates (2^f - 1) / f at the Chebyshev nodes: 1 at f = 0, so that slow decays have no bias.
  constexpr float kTerms[] = {1.5453163360e-4F,
                              1.3390863314e-3F,
                              9.6180830151e-3F,
                              5.5503569543e-2F,
                              2.4022650719e-1F,
                              6.9314718246e-1F,
                              1.0F};
  const Vec magic = broadcast(12582912.0F + 127.0F);  // 1.5 * 2^23 rounds; 127 biases the exponent
  Vec biased[kCount], p[kCount];
  for (int i = 0; i < kCount; ++i) t[i] = max(broadcast(-127.0F), t[i]);
  for (int i = 0; i < kCount; ++i) biased[i] = t[i] + magic;
  for (int i = 0; i < kCount; ++i) t[i] = t[i] - (biased[i] - magic);  // in [-1/2, 1/2], exact
  for (int i = 0; i < kCount; ++i) p[i] = broadcast(kTerms[0]);
  for (int k = 1; k < 7; ++k) {
    for (int i = 0; i < kCount; ++i) p[i] = fma(p[i], t[i], broadcast(kTerms[k]));
  }
  for (int i = 0; i < kCount; ++i) t[i] = p[i] * (Vec)((IVec)biased[i] << 23);
}
FATHOM_INLINE Vec exp2_nonpositive(Vec t) {
  exp2_nonpositive_each<1>(&t);
  return t;
}

// e^-|x|, to about 1 ulp and the rounding of x / ln 2.
FATHOM_INLINE Vec exp_of_minus_abs(Vec x) {
  return exp2_nonpositive((Vec)((IVec)x | (int32_t)0x80000000) * 1.44269504088896341F);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), the second by (log(1 + u) - u) / u^2 interpolated at the
// Chebyshev nodes of [0, 1]: exact for small u. x itself above 20.
FATHOM_INLINE Vec softplus(Vec x) {
  const Vec u = exp_of_minus_abs(x);
  Vec p = broadcast(-4.4662114233e-3F);
  p = fma(p, u, broadcast(2.5224054232e-2F));
  p = fma(p, u, broadcast(-6.6757723689e-2F));
  p = fma(p, u, broadcast(1.1561845243e-1F));
  p = fma(p, u, broadcast(-1.5847565234e-1F));
  p = fma(p, u, broadcast(1.9854106009e-1F));
  p = fma(p, u, broadcast(-2.4986526370e-1F));
  p = fma(p, u, broadcast(3.3332842588e-1F));
  p = fma(p, u, broadcast(-4.9999997020e-1F));
  return max(x, Vec{}) + fma(u * u, p, u);
}

// 1 / (1 + e^-x), without large intermediate results on either side.
FATHOM_INLINE Vec sigmoid(Vec x) {
  const Vec u = exp_of_minus_abs(x);
  const Vec r = 1.0F / (1.0F + u);
  return select((IVec)(x < 0.0F), u * r, r);
}

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
