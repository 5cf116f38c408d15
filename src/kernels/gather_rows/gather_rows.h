// Moving rows between a batch and the subset that a router keeps.
//
//   gather:       y[i] = x[index[i]]
//   scatter-add:  y[index[i]] += w[i] * x[i]          (w null: 1)
//
// Indices are distinct and ascending (FATHOM_CHECK), so no two threads meet in one row.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct GatherRows {
  const float* x = nullptr;        // [source rows, dim]
  const int32_t* index = nullptr;  // [rows]
  float* y = nullptr;              // [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
};

struct ScatterAddRows {
  const float* x = nullptr;        // [rows, dim]
  const int32_t* index = nullptr;  // [rows]
  const float* weights = nullptr;  // [rows], or null
  float* y = nullptr;              // [target rows, dim], added to
  int64_t rows = 0;
  int64_t dim = 0;
};

// Backward of scatter-add for x and w (the gradient of y passes through unchanged); backward of gather is
// scatter-add.
struct ScatterAddRowsBwd {
  const float* x = nullptr;        // [rows, dim]
  const int32_t* index = nullptr;  // [rows]
  const float* weights = nullptr;  // [rows], or null
  const float* grad_y = nullptr;   // [target rows, dim]
  float* grad_x = nullptr;         // [rows, dim], overwritten
  float* grad_weights = nullptr;   // [rows], overwritten: x[i] . grad_y[index[i]]; null if weights is
  int64_t rows = 0;
  int64_t dim = 0;
};

void gather_rows_ref(const GatherRows& args);
void scatter_add_rows_ref(const ScatterAddRows& args);
void scatter_add_rows_bwd_ref(const ScatterAddRowsBwd& args);
void gather_rows_cpu(const GatherRows& args, Parallel& parallel);
void scatter_add_rows_cpu(const ScatterAddRows& args, Parallel& parallel);
void scatter_add_rows_bwd_cpu(const ScatterAddRowsBwd& args, Parallel& parallel);

}  // namespace fathom::kernels
