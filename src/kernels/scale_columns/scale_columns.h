// Each column times a number of its own:
//
//   y[r, d] = base[r, d] + x[r, d] * scale[d]
//
// Recursion encodings, the magnitudes of DoRA, the gates of adaption prompts.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct ScaleColumnsFwd {
  const float* x = nullptr;      // [rows, dim]
  const float* scale = nullptr;  // [dim]
  const float* base = nullptr;   // [rows, dim], or null for zeros
  float* y = nullptr;            // [rows, dim]; may be x or base
  int64_t rows = 0;
  int64_t dim = 0;
};

// The gradient of base is grad_y.
struct ScaleColumnsBwd {
  const float* x = nullptr;
  const float* scale = nullptr;
  const float* grad_y = nullptr;
  float* grad_x = nullptr;      // [rows, dim], overwritten; may be grad_y
  float* grad_scale = nullptr;  // [dim], overwritten
  float* workspace = nullptr;   // scale_columns_bwd_workspace(rows, dim) floats; the cpu form only
  int64_t rows = 0;
  int64_t dim = 0;
};

void scale_columns_fwd_ref(const ScaleColumnsFwd& args);
void scale_columns_bwd_ref(const ScaleColumnsBwd& args);
void scale_columns_fwd_cpu(const ScaleColumnsFwd& args, Parallel& parallel);
void scale_columns_bwd_cpu(const ScaleColumnsBwd& args, Parallel& parallel);
int64_t scale_columns_bwd_workspace(int64_t rows, int64_t dim);

}  // namespace fathom::kernels
