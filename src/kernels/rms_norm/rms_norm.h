// RMSNorm (Zhang and Sennrich 2019, eq. 4), row by row:
//
//   rstd[r] = 1 / sqrt(mean_d x[r, d]^2 + eps)
//   y[r, d] = x[r, d] * rstd[r] * weight[d]
//
// All arrays are float, dense and row-major; sums are taken in float on the cpu and in double in ref. The
// caller owns every pointer. Rows are independent: a row's result has the same bits whatever the other rows
// and the threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct RmsNormFwd {
  const float* x = nullptr;       // [rows, dim]
  const float* weight = nullptr;  // [dim]
  float* y = nullptr;             // [rows, dim]; may be x
  float* rstd = nullptr;          // [rows], or null when no backward follows
  int64_t rows = 0;
  int64_t dim = 0;
  float eps = 0;
};

struct RmsNormBwd {
  const float* x = nullptr;       // [rows, dim]
  const float* weight = nullptr;  // [dim]
  const float* rstd = nullptr;    // [rows], from the forward pass
  const float* grad_y = nullptr;  // [rows, dim]
  float* grad_x = nullptr;        // [rows, dim], overwritten; may be grad_y
  float* grad_weight = nullptr;   // [dim], overwritten
  float* workspace = nullptr;     // rms_norm_bwd_workspace(rows, dim) floats; the cpu form only
  int64_t rows = 0;
  int64_t dim = 0;
};

void rms_norm_fwd_ref(const RmsNormFwd& args);
void rms_norm_bwd_ref(const RmsNormBwd& args);

void rms_norm_fwd_cpu(const RmsNormFwd& args, Parallel& parallel);
void rms_norm_bwd_cpu(const RmsNormBwd& args, Parallel& parallel);
int64_t rms_norm_bwd_workspace(int64_t rows, int64_t dim);

}  // namespace fathom::kernels
