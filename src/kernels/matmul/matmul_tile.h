// The tile of c that lives in registers at the level being compiled, and how operands are packed for it. For
// the matmul_*simd.cc files only.
#pragma once

#include "kernels/matmul/matmul_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

// kTileRows x kTileVecs vectors of float sums, and a step of k meets them as kTileVecs vectors of b and
// kTileRows broadcasts of a. Of double sums half as many fit a register, so those tiles are one vector of
// columns wide.
#if defined(FATHOM_HAS_AVX512)
constexpr int kTileRows = 14;
#elif defined(FATHOM_SIMD_avx2)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVecs = 2;

#if defined(FATHOM_SIMD_avx512_bf16)
constexpr bool kHasPairs = true;
#else
constexpr bool kHasPairs = false;
#endif

constexpr MatmulLayout layout_of(MatmulPrecision precision) {
  constexpr int64_t wide = kTileVecs * kLanes;
  switch (precision) {
    case MatmulPrecision::kF32DoubleSums:
      return {kTileRows, kLanes, MatmulElement::kDouble, MatmulElement::kFloat};
    case MatmulPrecision::kF32:
      return {kTileRows, wide, MatmulElement::kFloat, MatmulElement::kFloat};
    case MatmulPrecision::kBF16:
      break;
  }
  constexpr MatmulElement element = kHasPairs ? MatmulElement::kPair : MatmulElement::kRounded;
  return {kTileRows, wide, element, element};
}

// An element of a packed operand, at any address.
template <typename Element>
FATHOM_INLINE Element element_at(const void* packed, int64_t index) {
  Element element;
  __builtin_memcpy(&element, (const char*)packed + index * (int64_t)sizeof element, sizeof element);
  return element;
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
