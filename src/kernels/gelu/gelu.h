// GELU in its exact form (Hendrycks and Gimpel 2016), element by element, with the factor that MLP routers
// put on their input (the temperature of Mixture-of-Recursions, 3.1):
//   y = u Phi(u),  u = scale x,  Phi(u) = (1 + erf(u / sqrt 2)) / 2
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct GeluFwd {
  const float* x = nullptr;  // [count]
  float* y = nullptr;        // [count]; may be x
  int64_t count = 0;
  float scale = 1;
};

struct GeluBwd {
  const float* x = nullptr;       // [count]
  const float* grad_y = nullptr;  // [count]
  float* grad_x = nullptr;        // [count], overwritten; may be grad_y
  int64_t count = 0;
  float scale = 1;
};

void gelu_fwd_ref(const GeluFwd& args);
void gelu_bwd_ref(const GeluBwd& args);
void gelu_fwd_cpu(const GeluFwd& args, Parallel& parallel);
void gelu_bwd_cpu(const GeluBwd& args, Parallel& parallel);

}  // namespace fathom::kernels
