// The pieces of causal_conv1d that are compiled once per instruction-set level.
#pragma once

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Channels [begin, end) of all sequences.
FATHOM_SIMD_DECLARE(void, causal_conv1d_fwd_channels,
                    (const CausalConv1dFwd& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, causal_conv1d_bwd_channels,
                    (const CausalConv1dBwd& args, int64_t begin, int64_t end))

}  // namespace fathom::kernels
