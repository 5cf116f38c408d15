// The pieces of linear that are compiled once per instruction-set level.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

constexpr int64_t kLinearRowBlock = 96;  // a multiple of every level's tile of rows

// Outputs [out_begin, out_end) of rows [row_begin, row_end), at most kLinearRowBlock of them.
FATHOM_SIMD_DECLARE(void, linear_fwd_block,
                    (const LinearFwd& args, int64_t row_begin, int64_t row_end, int64_t out_begin,
                     int64_t out_end))
// rounded[i] = x[i] rounded to bfloat16, kept as float.
FATHOM_SIMD_DECLARE(void, linear_round_row, (const float* x, float* rounded, int64_t count))

}  // namespace fathom::kernels
