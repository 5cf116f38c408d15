// The pieces of linear that are compiled once per instruction-set level.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// The rows of a product as the level reads them: float where the caller has them, or packed for bfloat16.
struct LinearRows {
  const void* data;
  int64_t stride;  // bytes
};

// Outputs [out_begin, out_end) of rows [row_begin, row_end).
FATHOM_SIMD_DECLARE(void, linear_fwd_block,
                    (const LinearFwd& args, const LinearRows& x, int64_t row_begin, int64_t row_end,
                     int64_t out_begin, int64_t out_end))
// Bytes of a row packed for bfloat16 weights, and the packing: values rounded to bfloat16, zeros to the end
// of the last step.
FATHOM_SIMD_DECLARE(int64_t, linear_packed_bytes, (int64_t in))
FATHOM_SIMD_DECLARE(void, linear_pack_row, (const float* x, int64_t in, void* packed))

}  // namespace fathom::kernels
