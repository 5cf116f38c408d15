// What an inference in bfloat16 leaves of a float, in place: y = x rounded to bfloat16, ties to even. The
// engine calls it where the published code stores bfloat16 (Decoder-Hybrid-Decoder, 10.2).
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct RoundBf16 {
  float* x = nullptr;  // [count], overwritten by the rounded values; NaN stays NaN
  int64_t count = 0;
};

void round_bf16_ref(const RoundBf16& args);
void round_bf16_cpu(const RoundBf16& args, Parallel& parallel);

}  // namespace fathom::kernels
