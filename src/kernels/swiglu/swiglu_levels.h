// The pieces of swiglu that are compiled once per instruction-set level.
#pragma once

#include "kernels/simd/dispatch.h"
#include "kernels/swiglu/swiglu.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, swiglu_fwd_range, (const SwigluFwd& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, swiglu_bwd_range, (const SwigluBwd& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
