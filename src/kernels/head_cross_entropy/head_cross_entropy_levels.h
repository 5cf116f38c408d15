// The piece of head_cross_entropy that is compiled once per instruction-set level.
#pragma once

#include "kernels/head_cross_entropy/head_cross_entropy.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// One row of logits [vocab]: fills largest, total = sum exp(l - largest) and mean.
struct RowSoftmax {
  float largest;
  float total;
  float mean;
};
FATHOM_SIMD_DECLARE(RowSoftmax, cross_entropy_row, (const float* logits, int64_t vocab))
// logits[v] <- scale * (exp(logits[v] - lse) - uniform): the gradient but for the label's own share.
FATHOM_SIMD_DECLARE(void, cross_entropy_grad_row,
                    (float* logits, int64_t vocab, float lse, float scale, float uniform))

}  // namespace fathom::kernels
