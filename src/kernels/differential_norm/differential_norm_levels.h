// The pieces of differential_norm that are compiled once per instruction-set level.
#pragma once

#include "kernels/differential_norm/differential_norm.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, differential_norm_fwd_rows,
                    (const DifferentialNormFwd& args, int64_t begin, int64_t end))
// Also adds the rows' share of the gradients of weight and lambda into partial [dim + 1].
FATHOM_SIMD_DECLARE(void, differential_norm_bwd_rows,
                    (const DifferentialNormBwd& args, int64_t begin, int64_t end, float* partial))

}  // namespace fathom::kernels
