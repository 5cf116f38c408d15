// The pieces of layer_norm that are compiled once per instruction-set level.
#pragma once

#include "kernels/layer_norm/layer_norm.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

FATHOM_SIMD_DECLARE(void, layer_norm_fwd_rows, (const LayerNormFwd& args, int64_t begin, int64_t end))
// Also adds the rows' shares of the weight and bias gradients into partial_weight and partial_bias, [dim]
// each.
FATHOM_SIMD_DECLARE(void, layer_norm_bwd_rows,
                    (const LayerNormBwd& args, int64_t begin, int64_t end, float* partial_weight,
                     float* partial_bias))

}  // namespace fathom::kernels
