// Dropout (Srivastava et al. 2014) with counter-based decisions:
//
//   y[i] = kept(i) ? x[i] / (1 - share) : 0
//   kept(i): word i mod 4 of philox(seed, stream, i / 4) is at least share * 2^32
//
// Who is kept is a function of (seed, stream, i) alone: the same on every level, machine and number of
// threads, and when a pass is run again. The gradient is the same function of the output's gradient.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct Dropout {
  const float* x = nullptr;  // [count]
  float* y = nullptr;        // [count]; may be x
  int64_t count = 0;
  float share = 0;  // of elements that become zero, in [0, 1)
  uint64_t seed = 0;
  uint64_t stream = 0;
};

void dropout_fwd_ref(const Dropout& args);
void dropout_fwd_cpu(const Dropout& args, Parallel& parallel);

}  // namespace fathom::kernels
