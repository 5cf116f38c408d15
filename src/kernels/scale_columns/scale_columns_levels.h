// The pieces of scale_columns that are compiled once per instruction-set level.
#pragma once

#include "kernels/scale_columns/scale_columns.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, scale_columns_fwd_rows, (const ScaleColumnsFwd& args, int64_t begin, int64_t end))
// Also adds the rows' share of the gradient of scale into partial_scale [dim].
FATHOM_SIMD_DECLARE(void, scale_columns_bwd_rows,
                    (const ScaleColumnsBwd& args, int64_t begin, int64_t end, float* partial_scale))

}  // namespace fathom::kernels
