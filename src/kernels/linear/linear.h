// Dense layer, forward only (training multiplies with matmul):
//
//   y[r, o] (+)= scale * (out_scale[o] * sum_i x[r, i] * weight[o, i] + bias[o])
//
// weight is float or bfloat16. With bfloat16 weights every x[r, i] is rounded to bfloat16 first (so that
// levels with a bfloat16 dot instruction and those without compute the same products); sums are float either
// way. The bfloat16 dot instruction takes denormal numbers for zero, other levels do not.
//
// The order of the sum over i is a function of `in`, the weight type and the instruction-set level alone: an
// output has the same bits whatever the number of rows, their place in the batch, the strides and the
// threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/parallel.h"

namespace fathom::kernels {

struct LinearFwd {
  const float* x = nullptr;      // [rows, in], rows x_stride apart
  const void* weight = nullptr;  // [out, in], dense, of any alignment its type allows
  DType weight_type = DType::kF32;
  const float* bias = nullptr;       // [out], or null
  const float* out_scale = nullptr;  // [out], or null for ones
  float* y = nullptr;                // [rows, out], rows y_stride apart; not overlapping x
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
  int64_t x_stride = 0;  // elements; >= in
  int64_t y_stride = 0;  // elements; >= out
  float scale = 1;
  bool accumulate = false;    // add to y (a residual branch) instead of overwriting it
  void* workspace = nullptr;  // linear_fwd_workspace(rows, in, weight_type) bytes; the cpu form only
};

void linear_fwd_ref(const LinearFwd& args);
void linear_fwd_cpu(const LinearFwd& args, Parallel& parallel);
// Several products of the same rows (queries, keys and values; gate and up) as one parallel region: x, rows,
// in, x_stride, weight_type and workspace agree, outputs do not overlap.
void linear_fwd_cpu(std::span<const LinearFwd> products, Parallel& parallel);
int64_t linear_fwd_workspace(int64_t rows, int64_t in, DType weight_type);  // bytes, monotone in rows and in

}  // namespace fathom::kernels
