// Choosing the next token from a row of logits. Order of the steps, as common engines do it: (bias, mask and
// penalties, which are the caller's) temperature, top-k, top-p, min-p, draw. temperature 0 is the arg max
// (the lowest id among equals). The draw inverts the cumulative sum of the surviving probabilities in
// descending order at the uniform number keyed by (seed, stream, position), so a sequence's tokens do not
// depend on what else is in the batch. For one instruction-set level they do not depend on the threads
// either; levels may differ where the number lies within 1e-6 of a boundary.
//
// A logit of minus infinity is a token that must not come: it is never drawn. NaN, plus infinity and a row
// without a finite logit are errors, for weights from outside lead there; a negative or infinite temperature
// is a FATHOM_CHECK.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "base/result.h"

namespace fathom::kernels {

struct SamplingParams {
  float temperature = 1;
  int32_t top_k = 0;  // 0: off
  float top_p = 1;    // 1: off; the smallest set that reaches it stays, at least one token
  float min_p = 0;    // 0: off; relative to the largest probability
  uint64_t seed = 0;
};

struct Sample {
  const float* logits = nullptr;  // [vocab]
  int64_t vocab = 0;
  SamplingParams params;
  uint64_t stream = 0;        // of the random numbers: one per sequence
  uint64_t position = 0;      // of the token to be drawn
  void* workspace = nullptr;  // sampling_workspace(vocab) bytes, aligned to 8; the cpu form only
};

struct Sampled {
  int32_t token = 0;
  float log_probability = 0;  // under the unmodified softmax of the logits
};

Result<Sampled> sample_ref(const Sample& args);
Result<Sampled> sample_cpu(const Sample& args, Parallel& parallel);
int64_t sampling_workspace(int64_t vocab);

}  // namespace fathom::kernels
