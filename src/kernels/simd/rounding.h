// Rounding inside a vector of floats. Included by *_simd.cc files only, under the rules of vec.h.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

// The nearest bfloat16, ties to even, kept as a float.
FATHOM_INLINE Vec round_bf16(Vec v) { return (Vec)(widened(to_bf16(v)) << 16); }

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
