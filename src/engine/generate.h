// Prompt in, tokens out, for one sequence: prefill in chunks, then one token a call.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/depth_controller.h"
#include "engine/executor.h"
#include "kernels/sampling/sampling.h"

namespace fathom {

struct GenerateRequest {
  std::span<const int32_t> prompt;  // at least one token
  int64_t max_tokens = 128;
  kernels::SamplingParams sampling;
  std::vector<int32_t> stop_tokens;  // ends the text and is not part of it
  int32_t max_depth = 0;             // recursion passes at most; 0: as the plan says
  // kTopK: decided over the rows of each call, so the prompt has to fit in one. kReplay: by `replay_depths`,
  // of prompt and generated tokens in order, enough for all of them.
  RoutingMode routing = RoutingMode::kThreshold;
  std::span<const uint8_t> replay_depths;
  DepthController* controller = nullptr;  // shifts decisions call by call; null or inactive: nobody does
  // Most tokens of a call that are guessed from prompt and text (ngram_draft.h) and read with the last one:
  // changes nothing but the time. Not together with topk, replayed depths or a controller.
  int64_t draft_tokens = 0;
  bool want_depths = false;  // runs the last token too, so that every token has a depth
  // Once it is true (a signal, another thread) the call ends: behind a chunk of the prompt, of which the
  // state has then read the first position() tokens, or behind a token. Null: nothing ends it.
  const std::atomic<bool>* cancelled = nullptr;
};

enum class FinishReason : uint8_t { kLength, kStop, kCancelled };

struct GeneratedToken {
  int32_t token = 0;
  float log_probability = 0;
};

struct GenerateResult {
  std::vector<GeneratedToken> tokens;
  FinishReason finish = FinishReason::kLength;
  std::vector<uint8_t> depths;  // of prompt and generated tokens in order; empty for models without routing
  std::vector<float> scores;    // router weight of each token's last pass, likewise
  int64_t drafted = 0, accepted = 0;  // guesses that were read, and those that came true
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

// Continues `state` (usually fresh). `on_token` sees each token as it is drawn; false stops. The random
// numbers are keyed by (seed, position), so the text is a function of the prompt and the request alone.
// Error: logits that are not finite, as weights that are not make them; the state is of no use any more.
class Generator {
 public:
  Generator(Executor& executor, const ModelPlan& plan, int64_t max_rows);
  Result<GenerateResult> run(SequenceState& state, const GenerateRequest& request,
                             const std::function<bool(const GeneratedToken&)>& on_token);

 private:
  struct Text;
  bool feed_prompt(SequenceState& state, const GenerateRequest& request, ForwardResult& forward,
                   GenerateResult& result);
  ForwardResult read_on(SequenceState& state, const GenerateRequest& request, Text& text,
                        GenerateResult& result);
  ForwardResult feed(SequenceState& state, std::span<const int32_t> tokens, const GenerateRequest& request,
                     int64_t logit_rows, GenerateResult& result);

  Executor& executor_;
  const ModelPlan& plan_;
  const int64_t max_rows_;
  AlignedBuffer sampling_workspace_;
};

}  // namespace fathom
