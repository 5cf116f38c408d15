// The piece of rope that is compiled once per instruction-set level.
#pragma once

#include "kernels/rope/rope.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, rope_fwd_rows, (const RopeFwd& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
