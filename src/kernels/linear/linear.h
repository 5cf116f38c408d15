// Dense layer, forward only (training multiplies with matmul):
//
//   y[r, o] (+)= scale * (out_scale[o] * sum_i x[r, i] * weight[o, i] + bias[o])
//
// weight is float, bfloat16 or int8. With bfloat16 weights every x[r, i] is rounded to bfloat16 first (so
// that levels with a bfloat16 dot instruction and those without compute the same products); sums are float
// either way. The bfloat16 dot instruction takes denormal numbers for zero, other levels do not.
//
// Int8 weights stand for weight_scale[o] * weight[o, i]. The row becomes whole numbers of 16 bits first,
//
//   q[r, i] = round(x[r, i] / s[r]),  s[r] = max_i |x[r, i]| / 32767,
//
// whose products with the weights are summed as integers, exactly, and the sum is multiplied by weight_scale
// and s: what int8 costs in precision is the weights' rounding, not the row's. A row that holds NaN or an
// infinity gives NaN.
//
// The order of the sum over i is a function of `in`, the weight type and the instruction-set level alone, and
// s[r] of the row alone: an output has the same bits whatever the number of rows, their place in the batch,
// the strides and the threads.
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
  const float* weight_scale = nullptr;  // [out] with int8 weights, else null
  const float* bias = nullptr;          // [out], or null
  const float* out_scale = nullptr;     // [out], or null for ones
  float* y = nullptr;                   // [rows, out], rows y_stride apart; not overlapping x
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
  int64_t x_stride = 0;  // elements; >= in
  int64_t y_stride = 0;  // elements; >= out
  float scale = 1;
  bool accumulate = false;    // add to y (a residual branch) instead of overwriting it
  void* workspace = nullptr;  // linear_fwd_workspace(rows, in, weight_type) bytes; the cpu form only
};

// The largest whole number that a row is brought to for int8 weights, and the first formula for one row:
// quantised [in]; returns s.
constexpr float kLinearRowLimit = 32767;
float linear_quantise_row_ref(const float* x, int64_t in, int16_t* quantised);

void linear_fwd_ref(const LinearFwd& args);
void linear_fwd_cpu(const LinearFwd& args, Parallel& parallel);
// Several products of the same rows (queries, keys and values; gate and up) as one parallel region: x, rows,
// in, x_stride, weight_type and workspace agree, outputs do not overlap.
void linear_fwd_cpu(std::span<const LinearFwd> products, Parallel& parallel);
int64_t linear_fwd_workspace(int64_t rows, int64_t in, DType weight_type);  // bytes, monotone in rows and in

}  // namespace fathom::kernels
