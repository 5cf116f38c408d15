// The element-wise heart of a gated memory unit (Decoder-Hybrid-Decoder, section 3): the gate is the
// projected input of the layer, never the memory.
//
//   y = memory * silu(gate)                                       plain
//   y = m * rstd * weight, m = memory * silu(gate), rstd = 1 / sqrt(mean_d m^2 + eps)     normalised (nGMU)
//
// Mamba's own output gate is the plain form with memory = y of the scan.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct GatedMemoryFwd {
  const float* memory = nullptr;  // [rows, dim]
  const float* gate = nullptr;    // [rows, dim]
  const float* weight = nullptr;  // [dim] for the normalised form, null for the plain one
  float* y = nullptr;             // [rows, dim]; may be gate, and memory too
  float* rstd = nullptr;          // [rows], normalised form with a backward to follow; else null
  int64_t rows = 0;
  int64_t dim = 0;
  float eps = 0;
};

struct GatedMemoryBwd {
  const float* memory = nullptr;
  const float* gate = nullptr;
  const float* weight = nullptr;
  const float* rstd = nullptr;
  const float* grad_y = nullptr;
  float* grad_memory = nullptr;  // [rows, dim], overwritten
  float* grad_gate = nullptr;    // [rows, dim], overwritten; may be grad_y
  float* grad_weight = nullptr;  // [dim], overwritten; null for the plain form
  float* workspace = nullptr;    // gated_memory_bwd_workspace(rows, dim) floats; the normalised cpu form only
  int64_t rows = 0;
  int64_t dim = 0;
};

void gated_memory_fwd_ref(const GatedMemoryFwd& args);
void gated_memory_bwd_ref(const GatedMemoryBwd& args);
void gated_memory_fwd_cpu(const GatedMemoryFwd& args, Parallel& parallel);
void gated_memory_bwd_cpu(const GatedMemoryBwd& args, Parallel& parallel);
int64_t gated_memory_bwd_workspace(int64_t rows, int64_t dim);

}  // namespace fathom::kernels
