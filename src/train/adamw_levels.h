// The pieces of AdamW that are compiled once per instruction-set level.
#pragma once

#include "kernels/simd/dispatch.h"
#include "train/adamw.h"

namespace fathom::train {

// What is the same for all elements of a tensor in one update.
struct AdamWFactors {
  float beta2;
  float one_minus_beta1, one_minus_beta2;
  float keep;       // 1 - learning rate * decay
  float step_size;  // learning rate / (1 - beta1^t)
  float root2;      // sqrt(1 - beta2^t)
  float eps;
};

FATHOM_SIMD_DECLARE(void, adamw_range,
                    (const AdamWTensor& tensor, const AdamWFactors& factors, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(double, sum_of_squares, (const float* values, int64_t count))

}  // namespace fathom::train
