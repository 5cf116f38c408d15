// The pieces of gather_rows that are compiled once per instruction-set level.
#pragma once

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, scatter_add_range, (const ScatterAddRows& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, scatter_add_bwd_range, (const ScatterAddRowsBwd& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
