// The loops of peaks that are compiled once per instruction-set level.
#pragma once

#include <cstdint>

#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

struct MultiplyResult {
  double flops;
  float value;  // depends on every operation
  const char* loop;
};

// The exclusive or of the 32-bit words of [data, data + bytes), read in `streams` (1, 4 or 8) equal parts
// side by side. bytes is a multiple of 4.
FATHOM_SIMD_DECLARE(uint32_t, peaks_read, (const void* data, int64_t bytes, int streams, bool prefetch))

// `rounds` multiply-adds in each of the level's chains.
FATHOM_SIMD_DECLARE(MultiplyResult, peaks_multiply_f32, (int64_t rounds))
FATHOM_SIMD_DECLARE(MultiplyResult, peaks_multiply_bf16, (int64_t rounds))
// Of whole numbers of 16 bits into 32, as products with int8 weights have them.
FATHOM_SIMD_DECLARE(MultiplyResult, peaks_multiply_int16, (int64_t rounds))

}  // namespace fathom::kernels
