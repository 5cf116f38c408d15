// The pieces of round_bf16 that are compiled once per instruction-set level.
#pragma once

#include "kernels/round_bf16/round_bf16.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Values [begin, end).
FATHOM_SIMD_DECLARE(void, round_bf16_range, (const RoundBf16& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
