// The pieces of linear that are compiled once per instruction-set level.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// The rows of a product as the level reads them: float where the caller has them, or packed for the type of
// the weights.
struct LinearRows {
  const void* data;
  int64_t stride;      // bytes
  const float* scale;  // [rows], of rows packed for int8 or int4; else null
};

// Outputs [out_begin, out_end) of rows [row_begin, row_end).
FATHOM_SIMD_DECLARE(void, linear_fwd_block,
                    (const LinearFwd& args, const LinearRows& x, int64_t row_begin, int64_t row_end,
                     int64_t out_begin, int64_t out_end))
// Bytes of a row packed for weights that are not float, and the packing: values rounded to bfloat16, or to
// whole numbers, of which it returns the scale; zeros to the end of the last step.
FATHOM_SIMD_DECLARE(int64_t, linear_packed_bytes, (int64_t in, DType weight_type, int64_t group))
FATHOM_SIMD_DECLARE(void, linear_pack_row, (const float* x, int64_t in, void* packed))
FATHOM_SIMD_DECLARE(float, linear_quantise_row, (const float* x, int64_t in, void* packed))
// The same whole numbers in the order in which int4 weights of such groups meet them, then the sum of each
// group as a float.
FATHOM_SIMD_DECLARE(float, linear_quantise_groups, (const float* x, int64_t in, int64_t group, void* packed))

}  // namespace fathom::kernels
