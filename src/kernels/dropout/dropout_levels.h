// The pieces of dropout that are compiled once per instruction-set level.
#pragma once

#include "kernels/dropout/dropout.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Elements [begin, end); begin is a multiple of 4.
FATHOM_SIMD_DECLARE(void, dropout_range, (const Dropout& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
