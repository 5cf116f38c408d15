// SwiGLU without its matrices (Shazeer 2020): y = up * silu(gate), silu(a) = a / (1 + e^-a), element by
// element.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct SwigluFwd {
  const float* gate = nullptr;  // [count]
  const float* up = nullptr;    // [count]
  float* y = nullptr;           // [count]; may be gate or up
  int64_t count = 0;
};

struct SwigluBwd {
  const float* gate = nullptr;
  const float* up = nullptr;
  const float* grad_y = nullptr;
  float* grad_gate = nullptr;  // overwritten; may be gate or grad_y
  float* grad_up = nullptr;    // overwritten; may be up
  int64_t count = 0;
};

void swiglu_fwd_ref(const SwigluFwd& args);
void swiglu_bwd_ref(const SwigluBwd& args);
void swiglu_fwd_cpu(const SwigluFwd& args, Parallel& parallel);
void swiglu_bwd_cpu(const SwigluBwd& args, Parallel& parallel);

}  // namespace fathom::kernels
