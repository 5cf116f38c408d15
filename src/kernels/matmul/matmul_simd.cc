#include "kernels/matmul/matmul_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// A tile of c lives in registers: kTileRows x kTileVecs accumulators, and a step of k meets them as kTileVecs
// vectors of b and kTileRows broadcasts of a.
#if defined(FATHOM_HAS_AVX512)
constexpr int kTileRows = 14;
#elif defined(FATHOM_SIMD_avx2)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVecs = 2;
constexpr int kTileColumns = kTileVecs * kLanes;

#if defined(FATHOM_SIMD_avx512_bf16)
constexpr bool kHasPairs = true;
#else
constexpr bool kHasPairs = false;
#endif

// Steps of a transposed operand that go into one strip before the next: strips lie far apart, often by a
// multiple of the caches' sets, and every step reads another row.
constexpr int64_t kStepsTogether = 4;

// Packed operands are words, at any address: floats, or pairs of bfloat16.
typedef uint32_t Word __attribute__((may_alias, aligned(1)));
typedef float FloatWord __attribute__((may_alias, aligned(1)));

// One tile: `steps` of a and b from where the pointers stand; then the sums are scaled and put or added to
// the `rows` x `columns` elements of c that exist.
FATHOM_INLINE void finish(const Vec total[kTileRows][kTileVecs], float* c, int64_t c_stride, int64_t rows,
                          int64_t columns, float scale, bool add) {
  for (int r = 0; r < kTileRows; ++r) {
    if (r >= rows) return;
    for (int v = 0; v < kTileVecs; ++v) {
      const int64_t left = columns - v * kLanes;
      if (left <= 0) break;
      float* at = c + r * c_stride + v * kLanes;
      const int64_t n = lanes_left(left);
      const Vec value = total[r][v] * scale;
      store_n(at, add ? load_n(at, n) + value : value, n);
    }
  }
}

// Floats, sums in double: half as many of them to a register, so one vector of columns after the other.
FATHOM_INLINE void tile_doubles(const FloatWord* a, const FloatWord* b, int64_t steps,
                                Vec total[kTileRows][kTileVecs]) {
  for (int v = 0; v < kTileVecs; ++v) {
    const FloatWord* columns = b + v * kLanes;
    Wide low[kTileRows] = {}, high[kTileRows] = {};
    for (int64_t k = 0; k < steps; ++k) {
      const Wide first = load_wide((const float*)(columns + k * kTileColumns));
      const Wide second = load_wide((const float*)(columns + k * kTileColumns + kLanes / 2));
#pragma GCC unroll 14
      for (int r = 0; r < kTileRows; ++r) {
        const Wide row = broadcast_wide(a[k * kTileRows + r]);
        low[r] = fma(row, first, low[r]);
        high[r] = fma(row, second, high[r]);
      }
    }
    for (int r = 0; r < kTileRows; ++r) total[r][v] = narrow(low[r], high[r]);
  }
}

// Floats, sums in float; also those that were rounded to bfloat16, where no instruction takes pairs.
FATHOM_INLINE void tile_floats(const FloatWord* a, const FloatWord* b, int64_t steps,
                               Vec total[kTileRows][kTileVecs]) {
  for (int64_t k = 0; k < steps; ++k) {
    Vec columns[kTileVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) columns[v] = load((const float*)(b + k * kTileColumns + v * kLanes));
#pragma GCC unroll 14
    for (int r = 0; r < kTileRows; ++r) {
      const Vec row = broadcast(a[k * kTileRows + r]);
#pragma GCC unroll 2
      for (int v = 0; v < kTileVecs; ++v) total[r][v] = fma(row, columns[v], total[r][v]);
    }
  }
}

#if defined(FATHOM_SIMD_avx512_bf16)
FATHOM_INLINE void tile_pairs(const Word* a, const Word* b, int64_t steps, Vec total[kTileRows][kTileVecs]) {
  for (int64_t k = 0; k < steps; ++k) {
    __m512bh columns[kTileVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      columns[v] = (__m512bh)_mm512_loadu_si512(b + k * kTileColumns + v * kLanes);
    }
#pragma GCC unroll 14
    for (int r = 0; r < kTileRows; ++r) {
      const __m512bh row = (__m512bh)_mm512_set1_epi32((int)a[k * kTileRows + r]);
#pragma GCC unroll 2
      for (int v = 0; v < kTileVecs; ++v) {
        total[r][v] = (Vec)_mm512_dpbf16_ps((__m512)total[r][v], row, columns[v]);
      }
    }
  }
}
#endif

FATHOM_INLINE void sum_tile(MatmulPrecision precision, const Word* a, const Word* b, int64_t steps,
                            Vec total[kTileRows][kTileVecs]) {
#if defined(FATHOM_SIMD_avx512_bf16)
  if (precision == MatmulPrecision::kBF16) return tile_pairs(a, b, steps, total);
#endif
  const auto* floats_a = (const FloatWord*)a;
  const auto* floats_b = (const FloatWord*)b;
  if (precision == MatmulPrecision::kF32) return tile_doubles(floats_a, floats_b, steps, total);
  tile_floats(floats_a, floats_b, steps, total);
}

// bfloat16 as the upper half of a word, NaN kept.
FATHOM_INLINE uint32_t rounded_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return (bits | 0x400000U) & 0xffff0000U;
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
}
FATHOM_INLINE Vec rounded(Vec x) {
  typedef uint32_t UVec __attribute__((vector_size(kLanes * 4)));
  const UVec bits = (UVec)x;
  const UVec nearest = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
  const UVec quiet = (bits | 0x400000U) & 0xffff0000U;
  return select((IVec)(x != x), (Vec)quiet, (Vec)nearest);
}

// The word of one index at one step.
FATHOM_INLINE uint32_t word_at(const MatmulPack& args, int64_t i, int64_t step) {
  const MatmulOperand& from = args.operand;
  if (i >= from.count) return 0;
  const int64_t over_i = from.transposed ? 1 : from.stride, over_k = from.transposed ? from.stride : 1;
  if (args.pairs) {
    const uint32_t even = rounded_bits(from.data[i * over_i + 2 * step * over_k]);
    const uint32_t odd =
        2 * step + 1 < from.k ? rounded_bits(from.data[i * over_i + (2 * step + 1) * over_k]) : 0;
    return even >> 16 | odd;
  }
  const float value = from.data[i * over_i + step * over_k];
  if (args.round) return rounded_bits(value);
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

#if defined(FATHOM_HAS_AVX512)
// Rows become columns, by exchanging halves, quarters, ...
FATHOM_INLINE void transpose(IVec v[kLanes]) {
#pragma GCC unroll 4
  for (int s = kLanes / 2; s > 0; s /= 2) {
    IVec low, high;
    for (int l = 0; l < kLanes; ++l) {
      low[l] = (l & s) != 0 ? kLanes + l - s : l;
      high[l] = (l & s) != 0 ? kLanes + l : l + s;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & s) != 0) continue;
      const IVec a = v[i], b = v[i + s];
      v[i] = (IVec)_mm512_permutex2var_epi32((__m512i)a, (__m512i)low, (__m512i)b);
      v[i + s] = (IVec)_mm512_permutex2var_epi32((__m512i)a, (__m512i)high, (__m512i)b);
    }
  }
}

// kLanes steps of one index, from element k on; what lies behind the operand's end is zero.
FATHOM_INLINE IVec words_of(const MatmulPack& args, const float* row, int64_t k) {
  const int64_t left = args.operand.k - k;
#if defined(FATHOM_SIMD_avx512_bf16)
  if (args.pairs) {
    const Vec even = load_n(row + k, lanes_left(left));
    const Vec odd = left > kLanes ? load_n(row + k + kLanes, lanes_left(left - kLanes)) : Vec{};
    return (IVec)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
  }
#endif
  const Vec values = load_n(row + k, lanes_left(left));
  return args.round ? (IVec)rounded(values) : (IVec)values;
}

FATHOM_INLINE void store_words(Word* to, IVec words, int64_t n) {
  _mm512_mask_storeu_epi32(to, (__mmask16)((1U << n) - 1), (__m512i)words);
}
#endif

// One step of one strip of a transposed operand.
FATHOM_INLINE void pack_step(const MatmulPack& args, int64_t strip, int64_t step, int64_t steps) {
  Word* to = (Word*)args.packed + (strip * steps + step) * args.width;
  const int64_t first = strip * args.width;
#if defined(FATHOM_HAS_AVX512)
  const MatmulOperand& from = args.operand;
  for (int64_t i = 0; i < args.width; i += kLanes) {
    const int64_t width = lanes_left(args.width - i);
    const int64_t left = from.count - first - i;
    const int64_t here = left < width ? (left > 0 ? left : 0) : width;
    const float* at = from.data + first + i;
    IVec words;
    if (args.pairs) {
      typedef uint32_t UVec __attribute__((vector_size(kLanes * 4)));
      const Vec even = rounded(load_n(at + 2 * step * from.stride, here));
      const Vec odd =
          2 * step + 1 < from.k ? rounded(load_n(at + (2 * step + 1) * from.stride, here)) : Vec{};
      words = (IVec)((UVec)even >> 16) | (IVec)odd;
    } else {
      const Vec values = load_n(at + step * from.stride, here);
      words = args.round ? (IVec)rounded(values) : (IVec)values;
    }
    store_words(to + i, words, width);
  }
#else
  for (int64_t i = 0; i < args.width; ++i) to[i] = word_at(args, first + i, step);
#endif
}

}  // namespace

MatmulLayout matmul_layout(bool bf16) { return {kTileRows, kTileColumns, bf16 && kHasPairs}; }

void matmul_pack_strips(const MatmulPack& args, int64_t begin, int64_t end) {
  const MatmulOperand& from = args.operand;
  const int64_t steps = args.pairs ? (from.k + 1) / 2 : from.k;
  for (int64_t strip = begin; strip < end; ++strip) {
    Word* to = (Word*)args.packed + strip * steps * args.width;
#if defined(FATHOM_HAS_AVX512)
    for (int64_t step = 0; step < steps; step += kLanes) {
      const int64_t k = args.pairs ? 2 * step : step;
      for (int64_t first = 0; first < args.width; first += kLanes) {
        const int64_t width = lanes_left(args.width - first);
        IVec words[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const int64_t index = strip * args.width + first + i;
          words[i] =
              i < width && index < from.count ? words_of(args, from.data + index * from.stride, k) : IVec{};
        }
        transpose(words);
        const int64_t count = lanes_left(steps - step);
        for (int s = 0; s < kLanes && s < count; ++s) {
          store_words(to + (step + s) * args.width + first, words[s], width);
        }
      }
    }
#else
    for (int64_t i = 0; i < args.width; ++i) {
      for (int64_t step = 0; step < steps; ++step) {
        to[step * args.width + i] = word_at(args, strip * args.width + i, step);
      }
    }
#endif
  }
}

void matmul_pack_steps(const MatmulPack& args, int64_t begin, int64_t end) {
  const int64_t steps = args.pairs ? (args.operand.k + 1) / 2 : args.operand.k;
  const int64_t strips = (args.operand.count + args.width - 1) / args.width;
  for (int64_t block = begin; block < end; block += kStepsTogether) {
    const int64_t block_end = block + kStepsTogether < end ? block + kStepsTogether : end;
    for (int64_t strip = 0; strip < strips; ++strip) {
      for (int64_t step = block; step < block_end; ++step) pack_step(args, strip, step, steps);
    }
  }
}

void matmul_block(const Matmul& args, const MatmulBlock& block) {
  const bool pairs = kHasPairs && args.precision == MatmulPrecision::kBF16;
  const int64_t steps = pairs ? (args.k + 1) / 2 : args.k;
  const bool add = args.accumulate || block.begin > 0;
  for (int64_t column = block.column_begin; column < block.column_end; ++column) {
    const Word* b = (const Word*)args.b + (column * steps + block.begin) * kTileColumns;
    for (int64_t row = block.row_begin; row < block.row_end; ++row) {
      const Word* a = (const Word*)args.a + (row * steps + block.begin) * kTileRows;
      // c is wanted at the end only: it comes while the sums are made.
      const float* c = args.c + row * kTileRows * args.c_stride + column * kTileColumns;
      const int64_t rows = args.rows - row * kTileRows;
      for (int r = 0; r < kTileRows && r < rows; ++r) {
        __builtin_prefetch(c + r * args.c_stride, 1);
        __builtin_prefetch(c + r * args.c_stride + kLanes, 1);
      }
      Vec total[kTileRows][kTileVecs] = {};
      sum_tile(args.precision, a, b, block.end - block.begin, total);
      finish(total, args.c + row * kTileRows * args.c_stride + column * kTileColumns, args.c_stride,
             args.rows - row * kTileRows, args.columns - column * kTileColumns, args.scale, add);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
