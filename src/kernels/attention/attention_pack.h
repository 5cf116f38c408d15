// Keys, values and queries on their way into scratch. Included by attention_simd.cc only.
#pragma once

#include "kernels/attention/attention_levels.h"
#include "kernels/attention/attention_pairs.h"
#include "kernels/simd/columns.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

constexpr float kLog2E = 1.44269504088896341F;

FATHOM_INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
FATHOM_INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
FATHOM_INLINE int64_t group_of(int64_t j) { return j / kLanes * kLanes; }
FATHOM_INLINE int64_t padded_dim(int64_t dim) { return (dim + kMostLanes - 1) / kMostLanes * kMostLanes; }

// All ones where lo <= j + lane < hi.
FATHOM_INLINE IVec seen(int64_t j, int64_t lo, int64_t hi) {
  const IVec index = lane_numbers() + (int32_t)j;
  return (IVec)(index >= (int32_t)lo) & (IVec)(index < (int32_t)hi);
}

struct Range {
  int64_t begin;
  int64_t end;
};

// What a row sees of `keys`; begin >= end where it sees none.
FATHOM_INLINE Range seen_by(const int32_t* key_begin, const int32_t* key_end, int64_t row, Range keys) {
  return {at_least(key_begin[row], keys.begin), at_most(key_end[row], keys.end)};
}
// What rows [row, row_end) see, together.
FATHOM_INLINE Range seen_by_any(const int32_t* key_begin, const int32_t* key_end, int64_t row,
                                int64_t row_end, Range keys) {
  Range any = {keys.end, keys.begin};
  for (; row < row_end; ++row) {
    const Range own = seen_by(key_begin, key_end, row, keys);
    if (own.begin >= own.end) continue;
    any = {at_most(any.begin, own.begin), at_least(any.end, own.end)};
  }
  return any;
}

// Entries of one KV head, or of a unit of them, in one block: `stride` elements apart.
struct Entries {
  const void* data;
  int64_t stride;
};

template <bool kBf16>
FATHOM_INLINE Vec load_kv(const void* base, int64_t index) {
  return kBf16 ? load_bf16((const uint16_t*)base + index) : load((const float*)base + index);
}
template <bool kBf16>
FATHOM_INLINE Vec load_kv_n(const void* base, int64_t index, int64_t n) {
  return kBf16 ? load_bf16_n((const uint16_t*)base + index, n) : load_n((const float*)base + index, n);
}

// Asks for entries [lo, hi) ahead of their use: one head's share of an entry is too short, and too far from
// the next, for the hardware to foresee. Nothing happens where there is no such address.
template <bool kBf16>
FATHOM_INLINE void prefetch(Entries entries, int64_t lo, int64_t hi, int64_t dim) {
  constexpr int64_t kElement = kBf16 ? 2 : 4, kLine = 64;
  for (int64_t j = lo; j < hi; ++j) {
    const char* const entry = (const char*)entries.data + j * entries.stride * kElement;
    for (int64_t at = 0; at < dim * kElement; at += kLine) __builtin_prefetch(entry + at);
  }
}

// `dim` elements times `factor` as floats, zeros up to `padded`.
template <bool kBf16>
FATHOM_INLINE void pack(const void* from, int64_t at, int64_t dim, int64_t padded, float factor, float* to) {
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(to + d, load_kv<kBf16>(from, at + d) * factor);
  for (; d < padded; d += kLanes) {
    store(to + d, d < dim ? load_kv_n<kBf16>(from, at + d, dim - d) * factor : Vec{});
  }
}

// Entries [lo, hi) as rows of `padded` floats. Asks for next_dim elements of the same entries of `next`.
template <bool kBf16>
FATHOM_INLINE void pack_entries(Entries from, int64_t lo, int64_t hi, int64_t dim, int64_t padded, float* to,
                                Entries next, int64_t next_dim) {
  for (int64_t j = lo; j < hi; ++j) {
    prefetch<kBf16>(next, j, j + 1, next_dim);
    pack<kBf16>(from.data, j * from.stride, dim, padded, 1.0F, to + j * padded);
  }
}

// Entries [lo, hi) as columns of [dim, kKeyBlock] floats, whole vectors of them. Lanes without an entry
// repeat the nearest one: what lies there need not be readable. Asks for next_dim elements of the same
// entries of `next`.
template <bool kBf16>
FATHOM_INLINE void pack_columns(Entries from, int64_t lo, int64_t hi, int64_t dim, float* to, Entries next,
                                int64_t next_dim) {
  for (int64_t j = group_of(lo); j < hi; j += kLanes) {
    prefetch<kBf16>(next, j, j + kLanes, next_dim);
    int64_t at[kLanes];
    for (int i = 0; i < kLanes; ++i) at[i] = at_most(at_least(j + i, lo), hi - 1) * from.stride;
    int64_t d = 0;
    Vec tile[kLanes];
    for (; d + kLanes <= dim; d += kLanes) {
      for (int i = 0; i < kLanes; ++i) tile[i] = load_kv<kBf16>(from.data, at[i] + d);
      transpose(tile);
      for (int i = 0; i < kLanes; ++i) store(to + (d + i) * kKeyBlock + j, tile[i]);
    }
    if (d < dim) {
      for (int i = 0; i < kLanes; ++i) tile[i] = load_kv_n<kBf16>(from.data, at[i] + d, dim - d);
      transpose(tile);
      for (int i = 0; i < dim - d; ++i) store(to + (d + i) * kKeyBlock + j, tile[i]);
    }
  }
}

// One head's panels of pairs as columns of [dim, kKeyBlock] floats: the vectors with entries of [lo, hi).
FATHOM_INLINE void widen_columns(const void* from, int64_t lo, int64_t hi, int64_t dim, float* to) {
  for (int64_t j = group_of(lo); j < hi; j += kLanes) {
    const float* const pairs = (const float*)from + j / kPanelKeys * (dim / 2 * kPanelKeys) + j % kPanelKeys;
    for (int64_t d = 0; d < dim; d += 2) {
      const Vec pair = load(pairs + d / 2 * kPanelKeys);
      store(to + d * kKeyBlock + j, first_of_pair(pair));
      store(to + (d + 1) * kKeyBlock + j, second_of_pair(pair));
    }
  }
}

// Entries [lo, hi) of neighbouring panels of `width` values, `dim` of them in all, as rows of `padded`
// floats.
template <bool kBf16>
FATHOM_INLINE void pack_panels(const void* from, int64_t width, int64_t lo, int64_t hi, int64_t dim,
                               int64_t padded, float* to) {
  for (int64_t j = lo; j < hi; ++j) {
    float* const row = to + j * padded;
    for (int64_t first = 0; first < dim; first += width) {
      const int64_t at = first * kKeyBlock + j * width;
      for (int64_t d = 0; d < width; d += kLanes) {
        const int64_t n = lanes_left(width - d);
        store_n(row + first + d, load_kv_n<kBf16>(from, at + d, n), n);
      }
    }
    for (int64_t d = dim; d < padded; d += kLanes) store_n(row + d, Vec{}, lanes_left(padded - d));
  }
}

// Queries of a stripe of the tile from [rows, heads, dim] to scratch, `padded` floats apart, times `factor`.
FATHOM_INLINE void pack_queries(const float* from, const AttentionTile& tile, int64_t heads, int64_t stripes,
                                int64_t stripe, int64_t dim, int64_t padded, float factor, float* to) {
  const int64_t first = tile.unit * tile.pairs * stripes + stripe;
  for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
    for (int64_t g = 0; g < tile.pairs; ++g, to += padded) {
      pack<false>(from, (r * heads + first + g * stripes) * dim, dim, padded, factor, to);
    }
  }
}

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
