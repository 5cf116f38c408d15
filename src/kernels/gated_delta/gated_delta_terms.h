// What a head has one of at a row, as the rows of gated_delta_terms_rows hold it. For the
// gated_delta_*simd.cc files only.
#pragma once

#include "kernels/gated_delta/gated_delta_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

// Not the shape's own functions: a level's object must not share them.
FATHOM_INLINE int64_t keys_of(const DeltaShape& shape) { return shape.heads * shape.key_dim; }
FATHOM_INLINE int64_t values_of(const DeltaShape& shape) { return shape.heads * shape.value_dim; }

FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// What a head has one of at a row.
struct Terms {
  float q, k, delta, alpha, beta;
};
FATHOM_INLINE Terms terms_at(const float* terms, const DeltaShape& shape, int64_t row, int64_t head) {
  const float* first = terms + row * kDeltaTerms * shape.heads + head;
  return {first[0], first[shape.heads], first[2 * shape.heads], first[3 * shape.heads],
          first[4 * shape.heads]};
}

FATHOM_INLINE float product(const float* a, const float* b, int64_t count) {
  Vec total = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = lanes_left(count - i);
    total = fma(load_n(a + i, n), load_n(b + i, n), total);
  }
  return sum(total);
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
