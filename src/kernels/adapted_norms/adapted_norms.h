// The norms by which DoRA divides (arXiv 2402.09353): of each row of a matrix with its low-rank change,
//
//   norms[o] = || weight[o, :] + scaling * sum_k b[o, k] a[k, :] ||_2
//
// They are constants on the way back, so there is no other pass.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/parallel.h"

namespace fathom::kernels {

struct AdaptedNorms {
  const void* weight = nullptr;  // [out, in]
  const void* a = nullptr;       // [rank, in]
  const void* b = nullptr;       // [out, rank]
  DType type = DType::kF32;      // of all three, float or bfloat16; with weight_scale of a and b
  float* norms = nullptr;        // [out], overwritten
  int64_t in = 0;
  int64_t out = 0;
  int64_t rank = 0;
  float scaling = 1;
  const float* weight_scale = nullptr;  // [out]: the weight is int8, and this multiplies its rows; else null
};

void adapted_norms_fwd_ref(const AdaptedNorms& args);
void adapted_norms_fwd_cpu(const AdaptedNorms& args, Parallel& parallel);

}  // namespace fathom::kernels
