// The pieces of gated_memory that are compiled once per instruction-set level.
#pragma once

#include "kernels/gated_memory/gated_memory.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, gated_memory_fwd_rows, (const GatedMemoryFwd& args, int64_t begin, int64_t end))
// Also adds the rows' share of the weight gradient into partial_weight [dim] (normalised form only).
FATHOM_SIMD_DECLARE(void, gated_memory_bwd_rows,
                    (const GatedMemoryBwd& args, int64_t begin, int64_t end, float* partial_weight))

}  // namespace fathom::kernels
