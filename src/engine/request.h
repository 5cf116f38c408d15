// A request for text, and what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/generate.h"
#include "engine/logit_rules.h"
#include "engine/sequence_model.h"
#include "kernels/sampling/sampling.h"

namespace fathom {

using RequestId = uint64_t;

// A token that might have been drawn, by the softmax of the model's logits as they are.
struct TokenLogProbability {
  int32_t token = 0;
  float log_probability = 0;
};

struct RequestResult {
  std::vector<GeneratedToken> tokens;  // log probabilities are by the model's logits, whatever the rules
  std::vector<std::vector<TokenLogProbability>> top;  // of each token, if they were asked for
  // Of the prompt's tokens from the second on, if they were asked for; `prompt_top` as `top`.
  std::vector<GeneratedToken> prompt;
  std::vector<std::vector<TokenLogProbability>> prompt_top;
  FinishReason finish = FinishReason::kLength;
  std::optional<int32_t> stop_token;  // that ended the text
  std::optional<Error> error;         // ended the request: logits that are not finite
  int64_t cached_tokens = 0;          // of the prompt, which others had read before
  int64_t drafted = 0, accepted = 0;  // guesses of tokens that were read, and those that came true
  int64_t preemptions = 0;    // how often its memory was taken from it, and what it had read was read again
  double queued_seconds = 0;  // from its arrival to its first row
  double first_token_seconds = 0;  // from its arrival to its first token
  double seconds = 0;              // from its arrival to its end
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_tokens = 128;     // fewer where the model's context ends before
  kernels::SamplingParams sampling;
  uint64_t stream = 0;  // of the random numbers, of several texts with one seed
  LogitRules rules;
  int32_t top_log_probabilities = 0;  // how many of the most probable tokens the result names at each place
  bool prompt_log_probabilities = false;  // the result has those of the prompt's tokens too
  std::vector<int32_t> stop_tokens;       // ends the text and is not part of it
  int32_t priority = 0;                   // the lower number goes first
  DepthRule rule;                         // how deep its tokens go
  // Most tokens of a pass that are guessed from the text (ngram_draft.h) and read with the last one. They
  // change how fast a text comes and nothing else of it.
  int64_t draft_tokens = 0;
  bool keep_prompt = false;  // others with the same prompt will come: keeps all of it but a token
  // Sees each token as it is drawn; false ends the text behind it. May be empty. Called inside step(), like
  // on_end.
  std::function<bool(const GeneratedToken&)> on_token;
  std::function<void(RequestId, RequestResult)> on_end;
};

}  // namespace fathom
