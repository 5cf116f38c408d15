// Walks a plan over rows of one or many sequences: read-only weights, explicit state, memory allocated once.
// The same call is a prompt's prefill, a chunk of one, a decoded token, the scoring of a whole text, and all
// of these for different sequences side by side. Neither company nor cutting a sequence into calls
// differently changes a bit of it (except under top-k routing, which by definition looks at all that a call
// has of the sequence, and with states of bfloat16, which are rounded at its end).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "engine/numerics.h"
#include "engine/op_observer.h"
#include "plan/model_plan.h"
#include "state/sequence_state.h"
#include "weights/weights.h"

namespace fathom {

// How a row's recursion depth is decided (Mixture-of-Recursions 3.3, 3.5).
enum class RoutingMode : uint8_t {
  kThreshold,  // causal: one pass more while the router's logit reaches the threshold; the first pass is
               // always made
  kTopK,   // as published: the share `capacity` of the call's rows, so that a token alone makes all passes.
           // Not causal, and cutting a sequence into calls differently changes what is computed
  kReplay  // depths are given
};

// Rows whose logits are wanted. The others go no further than what later rows can see of them (the prefill
// shortcut of Decoder-Hybrid-Decoder 6.1, for any plan: last_state_layer()).
enum class Logits : uint8_t { kNone, kLast, kAll };

struct ForwardOptions {
  RoutingMode routing = RoutingMode::kThreshold;
  std::span<const uint8_t> replay_depths;  // kReplay: passes of each row, 1..Nr
  int32_t max_depth = 0;                   // most passes a row makes; 0: as the plan says
  // Added to the thresholds of expert choice; under token choice what the score of each further pass loses.
  // Above 0 fewer passes are made. Replayed depths and the published rule of expert choice do not heed it.
  float depth_shift = 0;
  // Scores in [0, 1) of a router that learns none, [depth, rows]; empty: drawn by depth and position.
  std::span<const float> router_draws;
  Logits logits = Logits::kLast;
  int64_t last_rows = 1;         // kLast: how many of the last rows; at most those of the call
  bool prefill_shortcut = true;  // false: every row goes all the way, to see what that costs
  // Rows [key_rows, rows) take part in everything but write no keys: they look at the rows before, and nobody
  // looks at them (the padding of recorded cases, which takes part in routing). 0: all rows write keys.
  int64_t key_rows = 0;
};

// What a caller may watch of a forward pass: name, data, rows of all sequences, columns; behind the last
// layer that keeps state, rows are those whose logits are wanted. In order of execution: "embedding";
// "layer.{i}", the residual stream after unrolled layer i outside routed segments; "memory", what gated
// memory units will read; of each pass r of expert choice "router.{r}.logits", "router.{r}.aux_logits" and
// "router.{r}.weights" of its candidates, "router.{r}.candidates" and "router.{r}.kept" (rows of the call, as
// floats), "pass.{r}", the residual stream after it; of token choice "router.logits", "router.weights" and
// "router.scores_for_argmax" (with biases), [rows, Nr], "router.depth_index" (passes less one), "routed", the
// residual stream after the last pass; "final_norm".
using Trace = std::function<void(std::string_view name, const float* data, int64_t rows, int64_t columns)>;

// The next tokens of one sequence. A call has each sequence once.
struct SequenceCall {
  SequenceState* state = nullptr;
  std::span<const int32_t> tokens;  // at least one
  ForwardOptions options{};
};

// Of one sequence; valid until the next call.
struct ForwardResult {
  const float* logits = nullptr;  // [those that were wanted, vocab]
  // [rows] passes each row made through the routed segment, 0 for rows that a prefill shortcut left behind
  // before it; empty without routing.
  std::span<const uint8_t> depths;
  std::span<const float> scores;  // [rows] router weight of the row's last pass, likewise
};

class Executor {
 public:
  // `max_rows` bounds the rows of a call and sizes the scratch memory. Plan, weights and pool are the
  // caller's and outlive the executor. `numerics` passes check_numerics().
  // `max_logits` bounds the rows of a call whose logits are wanted; 0: all may be.
  Executor(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
           Parallel& parallel, const Numerics& numerics = {}, int64_t max_logits = 0);
  ~Executor();

  // A state that fits this executor, with memory of its own for the whole context, or with pages of `memory`
  // that come with reserve().
  SequenceState make_state(DType kv_type) const;
  SequenceState make_state(DType kv_type, std::shared_ptr<StateMemory> memory) const;

  // Runs the tokens of each sequence at positions state->position() .. and advances the states. Results are
  // in the order of the calls. Allocates nothing. Checks: rows of all sequences together in [1, max_rows],
  // ids below the vocabulary, no context is exceeded, states of this executor with one type of keys, each
  // once.
  std::span<const ForwardResult> forward(std::span<const SequenceCall> calls);
  // Of one sequence.
  ForwardResult forward(SequenceState& state, std::span<const int32_t> tokens, const ForwardOptions& options);

  void set_trace(Trace trace);
  // Watches every kernel from the next call on; the caller's, null for nobody.
  void set_observer(OpObserver* observer);
  int64_t scratch_bytes() const;
  int64_t max_logits() const;
  // The caller's, for what is done with the logits.
  Parallel& pool() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
