// The decays of a chunk of a scan's rows, one for each row, as the forms by chunks need them: products of
// decays over spans of rows, and gradients of those. Included by *_simd.cc files only, under the rules of
// vec.h.
//
// Behind the last row of a chunk nothing fades: there decays are 1.
#pragma once

#include "kernels/simd/products.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

// Products of decays below this are taken for zero: what they multiply is far below the last bit of what it
// is added to, and numbers too small to be normal are slow on some processors.
constexpr float kNothing = 0x1p-64F;

FATHOM_INLINE float faded(float before, float decay) {
  const float now = before * decay;
  return now < kNothing ? 0.0F : now;
}

template <int64_t kRows>
struct ChunkDecays {
  float decay[kRows];
  float since[kRows];  // the product from the chunk's start up to the row
  float until[kRows];  // and behind the row, to the chunk's end
};

// From `decay`.
template <int64_t kRows>
FATHOM_INLINE void fill_spans(ChunkDecays<kRows>& d) {
  float since = 1.0F, until = 1.0F;
  for (int64_t t = 0; t < kRows; ++t) d.since[t] = since = faded(since, d.decay[t]);
  for (int64_t t = kRows - 1; t >= 0; --t) {
    d.until[t] = until;
    until = faded(until, d.decay[t]);
  }
}

// fade[t, s], [size, size]: the product behind row s up to row t; zero for s > t.
template <int64_t kRows>
FATHOM_INLINE void fill_fade(const ChunkDecays<kRows>& d, int64_t size, Matrix fade) {
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t s = 0; s < size; s += kLanes) {
      const Vec now = t == 0 ? Vec{} : load(fade.row(t - 1) + s) * d.decay[t];
      store(fade.row(t) + s, select(now < kNothing, Vec{}, now));
    }
    fade.row(t)[t] = 1.0F;
  }
}

// A chunk's share of a loss is a sum of terms, each in proportion to the decays of a span of rows and, where
// the span begins behind a row, to a weight of that row:
//
//   weight[s] pair(t, s)   behind row s up to row t; pair(t, s..) is a vector, anything for columns beyond t
//   from_start[t]          from the chunk's start up to row t
//   weight[s] to_end[s]    behind row s, to the chunk's end
//
// Gradients of the first `rows` rows, with respect to the logarithms of decays and to the weights. Sums of
// what there is, no difference of larger sums.
template <int64_t kRows, class Pair>
FATHOM_INLINE void bwd_spans(int64_t rows, const float* weight, const Pair& pair, const float* from_start,
                             const float* to_end, float* grad_log, float* grad_weight) {
  float through[kRows] = {}, sums[kRows] = {};  // of pairs: weighted sums over rows from t on; plain ones
  float beyond = 0.0F, along = 0.0F;
  for (int64_t t = 0; t < rows; ++t) {
    grad_log[t] = beyond;
    beyond += to_end[t] * weight[t];
  }
  for (int64_t t = rows - 1; t >= 0; --t) {
    Vec total = {};
    for (int64_t s = 0; s <= t; s += kLanes) {
      const Vec value = pair(t, s);
      const IVec earlier = first_lanes(t - s);
      store(sums + s, load(sums + s) + select(first_lanes(t + 1 - s), value, Vec{}));
      const Vec now = load(through + s) + select(earlier, value * load(weight + s), Vec{});
      store(through + s, now);
      total = total + select(earlier, now, Vec{});
    }
    along += from_start[t];
    grad_log[t] += sum(total) + along;
  }
  for (int64_t t = 0; t < rows; ++t) grad_weight[t] = sums[t] + to_end[t];
}

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
