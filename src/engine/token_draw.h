// The next token of a request, drawn from the model's logits under its rules, and what the logits say of
// others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "engine/request.h"

namespace fathom {

class TokenDraw {
 public:
  // `parallel` is the caller's and outlives this.
  TokenDraw(int64_t vocab, Parallel& parallel);

  // The token behind `tokens`, the request's prompt and text so far, by logits [vocab]. A function of these
  // alone. Its log probability is by the logits as they are. Error: logits that are not finite.
  Result<GeneratedToken> next(const Request& request, std::span<const int32_t> tokens, const float* logits);

  // What the logits say of a token that is given. Error: as above.
  Result<GeneratedToken> given(int32_t token, const float* logits);

  // The `count` most probable tokens, the lower id first among equals; `known` is any token with its log
  // probability by the same logits.
  std::vector<TokenLogProbability> most_probable(const float* logits, int32_t count,
                                                 const GeneratedToken& known) const;

 private:
  int64_t vocab_;
  Parallel& parallel_;
  AlignedBuffer workspace_;
  std::vector<float> changed_logits_;
};

}  // namespace fathom
