// Dense layer, forward only (training multiplies with matmul):
//
//   y[r, o] (+)= scale * (out_scale[o] * sum_i x[r, i] * weight[o, i] + bias[o])
//
// weight is float, bfloat16, int8 or int4. With bfloat16 weights every x[r, i] is rounded to bfloat16 first
// (so that levels with a bfloat16 dot instruction and those without compute the same products); sums are
// float either way. The bfloat16 dot instruction takes denormal numbers for zero, other levels do not.
//
// Int8 weights stand for weight_scale[o] * weight[o, i]. The row becomes whole numbers of 16 bits first,
//
//   q[r, i] = round(x[r, i] / s[r]),  s[r] = max_i |x[r, i]| / 32767,
//
// whose products with the weights are summed as integers, exactly, and the sum is multiplied by weight_scale
// and s: what int8 costs in precision is the weights' rounding, not the row's. A row that holds NaN or an
// infinity gives NaN.
//
// Int4 weights (base/int4.h) stand for scale[o, g] * (weight[o, i] - zero[o, g]), g the group of i. They meet
// the same whole numbers. The products of a group are summed as integers, 8 inputs of each of its chunks at a
// time in four sums, which are exact as floats too; times the scale they are added up as floats, and so is
// -scale * zero times the sum of the group's whole numbers, which is exact likewise.
//
// The order of the sum over i is a function of `in`, the weight type, the group and the instruction-set level
// alone, and s[r] of the row alone: an output has the same bits whatever the number of rows, their place in
// the batch, the strides and the threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/parallel.h"

namespace fathom::kernels {

struct LinearFwd {
  const float* x = nullptr;      // [rows, in], rows x_stride apart
  const void* weight = nullptr;  // [out, in], dense, of any alignment its type allows; int4 of any
  DType weight_type = DType::kF32;
  const float* weight_scale = nullptr;  // [out] with int8 weights, else null
  const void* groups = nullptr;         // words [out, groups] with int4 weights, of any alignment; else null
  int64_t group = 0;                    // inputs of a group of int4 weights: 32, 64 or 128; else 0
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

// The largest whole number that a row is brought to for int8 and int4 weights, and the first formula for one
// row: quantised [in]; returns s.
constexpr float kLinearRowLimit = 32767;
float linear_quantise_row_ref(const float* x, int64_t in, int16_t* quantised);

void linear_fwd_ref(const LinearFwd& args);
void linear_fwd_cpu(const LinearFwd& args, Parallel& parallel);
// Several products of the same rows (queries, keys and values; gate and up) as one parallel region: x, rows,
// in, x_stride, weight_type, group and workspace agree, outputs do not overlap.
void linear_fwd_cpu(std::span<const LinearFwd> products, Parallel& parallel);
// Bytes, monotone in rows and in; without a type, for weights of any.
int64_t linear_fwd_workspace(int64_t rows, int64_t in, DType weight_type);
int64_t linear_fwd_workspace(int64_t rows, int64_t in);

}  // namespace fathom::kernels
