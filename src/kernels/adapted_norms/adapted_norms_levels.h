// The pieces of adapted_norms that are compiled once per instruction-set level.
#pragma once

#include "kernels/adapted_norms/adapted_norms.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Norms [begin, end).
FATHOM_SIMD_DECLARE(void, adapted_norms_rows, (const AdaptedNorms& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
