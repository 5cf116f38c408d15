// The pieces of sampling that are compiled once per instruction-set level.
#pragma once

#include "kernels/sampling/sampling.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Logits whose largest one is kept, so that the rest need not be looked at again if that is too small.
constexpr int64_t kSamplingGroup = 64;
// Logits that are summed before anything else, relative to their own largest one; whole groups.
constexpr int64_t kSamplingBlock = 32 * kSamplingGroup;

struct SamplingSums {
  float largest;   // m, of those that are no NaN
  double softmax;  // sum exp(z - m); NaN if a logit is NaN or infinite
  double weights;  // sum exp((z - m) / temperature)
};
// Of `count` logits, at most kSamplingBlock; fills largest [ceil(count / kSamplingGroup)], one for each
// group.
FATHOM_SIMD_DECLARE(SamplingSums, sampling_block,
                    (const float* logits, int64_t count, float temperature, float* largest))
// weights[v] = exp((logits[v] - largest) / temperature) of `count` logits, at most kSamplingGroup; fills all
// of weights [kSamplingGroup].
FATHOM_SIMD_DECLARE(void, sampling_weights,
                    (const float* logits, int64_t count, float largest, float temperature, float* weights))

}  // namespace fathom::kernels
