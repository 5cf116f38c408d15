// The pieces of router that are compiled once per instruction-set level.
#pragma once

#include "kernels/router/router.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, router_logit_rows, (const RouterFwd& args, int64_t begin, int64_t end))
// grad_x[r] = sum_i slopes[r, i] * weight[i], and slopes[r, i] * x[r] added into partial_weight [outputs,
// dim].
FATHOM_SIMD_DECLARE(void, router_bwd_rows,
                    (const RouterBwd& args, const float* slopes, int64_t begin, int64_t end,
                     float* partial_weight))

}  // namespace fathom::kernels
