// Int4 weights, whose groups have a scale each, and rows in the order in which they meet them. A vector of
// weights, as it lies in memory (base/int4.h), holds a chunk of each of kGroupsOfVector groups, 8 weights in
// a lane: the even ones are the lower halves of its bytes, the odd ones the upper halves. A whole number x of
// a row is taken apart likewise, into bytes of which the upper one has a sign: x = 256 h + l. So products are
// of bytes, and weights need three instructions for a vector of them. A group's products end in four lanes,
// exact as integers and as floats: 128 * 15 * 32767 / 4 < 2^24. Included by linear_simd.cc alone, under the
// rules of simd/vec.h.
#pragma once

#include "base/int4.h"
#include "kernels/linear/linear_formats.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

constexpr int64_t kGroupsOfVector = kLanes / 4, kVectorBytes = kLanes * 4, kWordBytes = 2;
constexpr int64_t kMostGroup = 128;
constexpr int32_t kLowerHalves = 0x0f0f0f0f;
constexpr int kBytesOfInput = 4;  // vectors: h and l of the even inputs, then of the odd ones

// Goes over the groups of a row that lie side by side: by fours, then those left over, then a shorter one.
struct Side {
  int64_t in, group;
  int64_t first = 0, groups = 0, chunks = 0;  // number of the first group; how many; chunks of each
  int64_t bytes_before = 0;                   // of weights
  int64_t vectors_before = 0;                 // bytes of inputs

  FATHOM_INLINE Side behind(int64_t in, int64_t group, int64_t fours) {
    const int64_t first = fours * int4::kSideBySide, chunks = first * group / int4::kChunk;
    Side side{.in = in,
              .group = group,
              .first = first,
              .bytes_before = chunks * int4::kChunkBytes,
              .vectors_before = chunks * int4::kChunk * 2};
    side.choose();
    return side;
  }
  FATHOM_METHOD bool more() const { return first * group < in; }
  // Vectors hold kGroupsOfVector groups: the bytes of the inputs that meet one after the other.
  FATHOM_METHOD int64_t vectors_of_part() const { return chunks * kBytesOfInput * kVectorBytes; }
  FATHOM_METHOD int64_t parts() const { return (groups + kGroupsOfVector - 1) / kGroupsOfVector; }
  FATHOM_METHOD void next() {
    bytes_before += groups * chunks * int4::kChunkBytes;
    vectors_before += parts() * vectors_of_part();
    first += groups;
    choose();
  }
  FATHOM_METHOD void choose() {
    const int64_t whole = in / group - first;
    groups = whole >= int4::kSideBySide ? int4::kSideBySide : whole > 0 ? whole : 1;
    chunks = whole > 0 ? group / int4::kChunk : (in % group + int4::kChunk - 1) / int4::kChunk;
  }
};

FATHOM_INLINE int64_t vectors_bytes(int64_t in, int64_t group) {
  Side side = Side::behind(in, group, in / group / int4::kSideBySide);
  while (side.more()) side.next();
  return side.vectors_before;
}
FATHOM_INLINE int64_t sums_bytes(int64_t in, int64_t group) {
  return ((in + group - 1) / group + kLanes - 1) / kLanes * kVectorBytes;
}

// The whole numbers of a group, in the lanes of the group with number `place` in the vector.
FATHOM_INLINE void put_group(const int16_t* whole, int64_t chunks, int64_t place, char* to) {
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (int lane = 0; lane < 4; ++lane) {
      const int16_t* const eight = whole + chunk * int4::kChunk + 8 * lane;
      char bytes[kBytesOfInput][4];
      for (int i = 0; i < 8; ++i) {
        bytes[i % 2 * 2][i / 2] = (char)(eight[i] >> 8);
        bytes[i % 2 * 2 + 1][i / 2] = (char)eight[i];
      }
      for (int k = 0; k < kBytesOfInput; ++k) {
        __builtin_memcpy(to + (chunk * kBytesOfInput + k) * kVectorBytes + (4 * place + lane) * 4, bytes[k],
                         4);
      }
    }
  }
}

// O rows of weights and of the words of their groups; strides in bytes.
struct GroupedWeights {
  const char* weight;
  int64_t stride;
  const char* words;
  int64_t words_stride;
};

FATHOM_INLINE IVec load_lanes(const char* p, int64_t n) {
  if (n == kLanes) return load_pairs(p);
  return (IVec)load_n((const float*)p, n);
}
// Sums of products of bytes, in lanes: of h, and of l, whose sums have 16 bits until they are whole() where
// the level adds pairs only. At most four chunks, of which the pairs of l then fill 16 bits without a sign.
typedef uint32_t UIVec __attribute__((vector_size(kLanes * 4)));
struct ByteSums {
  IVec h, l;
};
#if defined(FATHOM_SIMD_avx512_bf16)
FATHOM_INLINE void add_bytes(IVec even, IVec odd, const char* x, ByteSums* sums) {
  const auto at = [x](int k) __attribute__((always_inline)) {
    return (__m512i)load_pairs(x + k * kVectorBytes);
  };
  sums->h = (IVec)_mm512_dpbusd_epi32((__m512i)sums->h, (__m512i)even, at(0));
  sums->l = (IVec)_mm512_dpbusd_epi32((__m512i)sums->l, at(1), (__m512i)even);
  sums->h = (IVec)_mm512_dpbusd_epi32((__m512i)sums->h, (__m512i)odd, at(2));
  sums->l = (IVec)_mm512_dpbusd_epi32((__m512i)sums->l, at(3), (__m512i)odd);
}
FATHOM_INLINE IVec whole(ByteSums sums, int64_t) { return (sums.h << 8) + sums.l; }
#elif defined(FATHOM_HAS_AVX512) || defined(FATHOM_SIMD_avx2)
typedef uint16_t PairVec __attribute__((vector_size(kLanes * 4)));
#if defined(FATHOM_HAS_AVX512)
FATHOM_INLINE PairVec add_pairs(IVec u, IVec s) {
  return (PairVec)_mm512_maddubs_epi16((__m512i)u, (__m512i)s);
}
FATHOM_INLINE IVec widen_pairs(IVec v, int16_t by) {
  return (IVec)_mm512_madd_epi16((__m512i)v, _mm512_set1_epi16(by));
}
#else
FATHOM_INLINE PairVec add_pairs(IVec u, IVec s) {
  return (PairVec)_mm256_maddubs_epi16((__m256i)u, (__m256i)s);
}
FATHOM_INLINE IVec widen_pairs(IVec v, int16_t by) {
  return (IVec)_mm256_madd_epi16((__m256i)v, _mm256_set1_epi16(by));
}
#endif
FATHOM_INLINE void add_bytes(IVec even, IVec odd, const char* x, ByteSums* sums) {
  sums->h = (IVec)((PairVec)sums->h + add_pairs(even, load_pairs(x)) +
                   add_pairs(odd, load_pairs(x + 2 * kVectorBytes)));
  sums->l = (IVec)((PairVec)sums->l + add_pairs(load_pairs(x + kVectorBytes), even) +
                   add_pairs(load_pairs(x + 3 * kVectorBytes), odd));
}
FATHOM_INLINE IVec whole(ByteSums sums, int64_t chunks) {
  const IVec h = widen_pairs(sums.h, 256);
  if (chunks <= 2) return h + widen_pairs(sums.l, 1);
  return h + (sums.l & 0xffff) + (IVec)((UIVec)sums.l >> 16);
}
#else
FATHOM_INLINE void add_bytes(IVec even, IVec odd, const char* x, ByteSums* sums) {
  for (int k = 0; k < 2; ++k) {
    const IVec q = k == 0 ? even : odd, h = load_pairs(x + 2 * k * kVectorBytes),
               l = load_pairs(x + (2 * k + 1) * kVectorBytes);
    for (int at = 0; at < 32; at += 8) {
      const IVec weight = q >> at & int4::kMost;
      sums->h = sums->h + weight * (h << (24 - at) >> 24);
      sums->l = sums->l + weight * (l >> at & 255);
    }
  }
}
FATHOM_INLINE IVec whole(ByteSums sums, int64_t) { return (sums.h << 8) + sums.l; }
#endif
FATHOM_INLINE HVec load_words(const char* p, int64_t n) {
  HVec words = {};
  if (n >= kLanes) {
    __builtin_memcpy(&words, p, sizeof words);
  } else {
#if defined(FATHOM_HAS_AVX512)
    words = (HVec)_mm256_maskz_loadu_epi16((__mmask16)((1U << n) - 1), p);
#else
    for (int64_t i = 0; i < n; ++i) {
      uint16_t word;
      __builtin_memcpy(&word, p + i * kWordBytes, sizeof word);
      words[i] = word;
    }
#endif
  }
  return words;
}
// The scales of the groups from lane `first` on, each in four lanes.
FATHOM_INLINE Vec spread(Vec scales, int64_t first) {
#if defined(FATHOM_HAS_AVX512)
  const IVec lanes = (lane_numbers() >> 2) + (int32_t)first;
  return (Vec)_mm512_maskz_permutexvar_ps((__mmask16)0xffff, (__m512i)lanes, (__m512)scales);
#elif defined(FATHOM_SIMD_avx2)
  const IVec lanes = (lane_numbers() >> 2) + (int32_t)first;
  return (Vec)_mm256_permutevar8x32_ps((__m256)scales, (__m256i)lanes);
#else
  return broadcast(scales[first]);
#endif
}

// What the groups of one vector add to R x O outputs: `lanes` of the vectors are there, chunks `apart` bytes
// from each other. Outputs two at a time, so that inputs are loaded half as often.
template <int R, int O>
FATHOM_INLINE void add_groups(const char* x, int64_t x_stride, const char* weight, int64_t weight_stride,
                              int64_t chunks, int64_t apart, int64_t lanes, const Vec scales[O],
                              int64_t first, Vec total[R][O]) {
  constexpr int kPair = kLanes > 8 && R > 1 ? 2 : 1;
#pragma GCC unroll 8
  for (int o = 0; o < O; o += kPair) {
    const int pair = O - o < kPair ? O - o : kPair;
    ByteSums sums[kPair][R] = {};
#pragma GCC unroll 4
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      IVec even[kPair], odd[kPair];
      for (int p = 0; p < pair; ++p) {
        const IVec weights = load_lanes(weight + (o + p) * weight_stride + chunk * apart, lanes);
        even[p] = weights & kLowerHalves;
        odd[p] = weights >> 4 & kLowerHalves;
      }
      for (int r = 0; r < R; ++r) {
        const char* const inputs = x + r * x_stride + chunk * kBytesOfInput * kVectorBytes;
        for (int p = 0; p < pair; ++p) add_bytes(even[p], odd[p], inputs, &sums[p][r]);
      }
    }
    for (int p = 0; p < pair; ++p) {
      const Vec scale = spread(scales[o + p], first);
      for (int r = 0; r < R; ++r)
        total[r][o + p] =
            fma(__builtin_convertvector(whole(sums[p][r], chunks), Vec), scale, total[r][o + p]);
    }
  }
}

// The scales of kLanes groups from `first` on; and what their zeros take from the outputs.
template <int R, int O>
FATHOM_INLINE void take_words(const char* sums, int64_t x_stride, const GroupedWeights& of, int64_t first,
                              int64_t groups, Vec scales[O], Vec total[R][O]) {
  for (int o = 0; o < O; ++o) {
    const IVec words =
        widened(load_words(of.words + o * of.words_stride + first * kWordBytes, groups - first));
    scales[o] = (Vec)(((words & 0xfff0) << 12) + (103 << 23));
    const Vec zeros = __builtin_convertvector(words & int4::kMost, Vec) * scales[o];
    for (int r = 0; r < R; ++r)
      total[r][o] = fma(-zeros, load((const float*)(sums + r * x_stride) + first), total[r][o]);
  }
}

// Groups by fours, of kChunks chunks; all vectors are full.
template <int R, int O, int kChunks>
FATHOM_INLINE void meet_fours(const char* x, int64_t x_stride, const char* sums, const GroupedWeights& of,
                              int64_t groups, int64_t fours, Ahead* ahead, Vec scales[O], Vec total[R][O]) {
  constexpr int64_t kParts = int4::kSideBySide / kGroupsOfVector;
  constexpr int64_t kFourBytes = kParts * kVectorBytes;
  constexpr int64_t kPartInputs = kChunks * kBytesOfInput * kVectorBytes;
  const char* weight = of.weight;
  for (int64_t four = 0; four < fours; ++four) {
    const int64_t first = four * int4::kSideBySide;
    if (first % kLanes == 0) take_words<R, O>(sums, x_stride, of, first, groups, scales, total);
    ahead->fetch_elsewhere(kChunks * kFourBytes);
    for (int o = 0; o < O; ++o) ahead->fetch_behind(weight + o * of.stride, kChunks * kFourBytes);
    for (int64_t part = 0; part < kParts; ++part) {
      add_groups<R, O>(x, x_stride, weight + part * kVectorBytes, of.stride, kChunks, kFourBytes, kLanes,
                       scales, first % kLanes + part * kGroupsOfVector, total);
      x += kPartInputs;
    }
    weight += kChunks * kFourBytes;
  }
}

// R x O outputs before they are finished.
template <int R, int O>
FATHOM_INLINE void meet_groups(const char* x, int64_t x_stride, const GroupedWeights& of, int64_t in,
                               int64_t group, Ahead ahead, Vec total[R][O]) {
  const int64_t groups = (in + group - 1) / group, fours = in / group / int4::kSideBySide;
  const char* const sums = x + vectors_bytes(in, group);
  Vec scales[O] = {};
  if (group == 32) {
    meet_fours<R, O, 1>(x, x_stride, sums, of, groups, fours, &ahead, scales, total);
  } else if (group == 64) {
    meet_fours<R, O, 2>(x, x_stride, sums, of, groups, fours, &ahead, scales, total);
  } else {
    meet_fours<R, O, 4>(x, x_stride, sums, of, groups, fours, &ahead, scales, total);
  }
  for (Side side = Side::behind(in, group, fours); side.more(); side.next()) {
    if (side.first % kLanes == 0) take_words<R, O>(sums, x_stride, of, side.first, groups, scales, total);
    for (int64_t part = 0; part < side.parts(); ++part) {
      const int64_t of_part = side.groups - part * kGroupsOfVector;
      const int64_t lanes = of_part < kGroupsOfVector ? 4 * of_part : kLanes;
      add_groups<R, O>(x + side.vectors_before + part * side.vectors_of_part(), x_stride,
                       of.weight + side.bytes_before + part * kVectorBytes, of.stride, side.chunks,
                       side.groups * int4::kChunkBytes, lanes, scales,
                       side.first % kLanes + part * kGroupsOfVector, total);
    }
  }
}

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
