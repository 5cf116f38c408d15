// LayerNorm with weight and bias (Ba et al. 2016, eq. 3-4; biased variance), row by row:
//
//   mean[r] = mean_d x[r, d];  rstd[r] = 1 / sqrt(mean_d (x[r, d] - mean[r])^2 + eps)
//   y[r, d] = (x[r, d] - mean[r]) * rstd[r] * weight[d] + bias[d]
//
// All arrays are float, dense and row-major; the caller owns every pointer. Rows are independent.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct LayerNormFwd {
  const float* x = nullptr;       // [rows, dim]
  const float* weight = nullptr;  // [dim]
  const float* bias = nullptr;    // [dim]
  float* y = nullptr;             // [rows, dim]; may be x
  float* mean = nullptr;          // [rows], or null when no backward follows
  float* rstd = nullptr;          // [rows], or null when no backward follows
  int64_t rows = 0;
  int64_t dim = 0;
  float eps = 0;
};

struct LayerNormBwd {
  const float* x = nullptr;       // [rows, dim]
  const float* weight = nullptr;  // [dim]
  const float* mean = nullptr;    // [rows]
  const float* rstd = nullptr;    // [rows]
  const float* grad_y = nullptr;  // [rows, dim]
  float* grad_x = nullptr;        // [rows, dim], overwritten; may be grad_y
  float* grad_weight = nullptr;   // [dim], overwritten
  float* grad_bias = nullptr;     // [dim], overwritten
  float* workspace = nullptr;     // layer_norm_bwd_workspace(rows, dim) floats; the cpu form only
  int64_t rows = 0;
  int64_t dim = 0;
};

void layer_norm_fwd_ref(const LayerNormFwd& args);
void layer_norm_bwd_ref(const LayerNormBwd& args);

void layer_norm_fwd_cpu(const LayerNormFwd& args, Parallel& parallel);
void layer_norm_bwd_cpu(const LayerNormBwd& args, Parallel& parallel);
int64_t layer_norm_bwd_workspace(int64_t rows, int64_t dim);

}  // namespace fathom::kernels
