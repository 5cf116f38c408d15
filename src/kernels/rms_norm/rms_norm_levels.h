// The pieces of rms_norm that are compiled once per instruction-set level.
#pragma once

#include "kernels/rms_norm/rms_norm.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, rms_norm_fwd_rows, (const RmsNormFwd& args, int64_t begin, int64_t end))
// Also adds the rows' share of the weight gradient into partial_weight [dim].
FATHOM_SIMD_DECLARE(void, rms_norm_bwd_rows,
                    (const RmsNormBwd& args, int64_t begin, int64_t end, float* partial_weight))

}  // namespace fathom::kernels
