// Log-likelihoods of requests under a model. Requests that begin alike share the state of what they have in
// common, within a call and from one call to the next: copies of a state are exact and a sequence may be cut
// into calls anywhere, so the numbers are the same to the bit as without sharing. Top-k routing looks at a
// whole call; there each request is one forward call of its own, as published but unpadded
// (Mixture-of-Recursions 9.3).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "engine/executor.h"
#include "eval/requests.h"
#include "eval/work_spent.h"

namespace fathom::eval {

struct ScorerSettings {
  RoutingMode routing = RoutingMode::kThreshold;  // or kTopK
  int64_t max_inputs = 0;                         // rows of the longest request
  int64_t chunk = 256;                            // rows of a forward call under kThreshold
  DType kv_type = DType::kF32;
  bool each_target = false;  // scores tell of every target
  // With states of bfloat16 scores depend on chunks, and on what requests have in common.
  Numerics numerics = {};
};

struct Score {
  double log_likelihood = 0;            // of all targets, in nats
  bool greedy = true;                   // each target is the most probable token (the lowest id among equals)
  std::vector<double> of_targets = {};  // log-likelihoods, in order, where the settings ask for them
};

class Scorer {
 public:
  // Plan, weights and pool are the caller's and outlive the scorer.
  Scorer(const ModelPlan& plan, const Weights& weights, const ScorerSettings& settings, Parallel& parallel);

  // A score each. Requests of one call are expected to have much in common.
  std::vector<Score> score(std::span<const Request> requests);

  // Of the calls to come (ForwardOptions::depth_shift); from 0.
  void set_depth_shift(float shift);
  // Sees the passes of the rows of each call of the model, in order; null for nobody. Rows whose state is
  // shared are run once.
  void set_depth_watcher(std::function<void(std::span<const uint8_t>)> watcher) {
    depth_watcher_ = std::move(watcher);
  }

  const WorkSpent& spent() const { return spent_; }
  int64_t state_bytes() const;  // of all states it holds
  int64_t scratch_bytes() const;

 private:
  // Requests that feed the same tokens, and where their scores go.
  struct Batch {
    std::vector<const Request*> requests;
    std::vector<Score*> scores;
  };
  static std::vector<Batch> batches_of(std::span<const Request> requests, std::span<Score> scores);

  void go_to_common_prefix(std::span<const int32_t> common);
  // Feeds tokens [state.position(), end), looking at no logits.
  void feed(SequenceState& state, std::span<const int32_t> tokens, int64_t end);
  // Feeds what is left of a batch and scores its targets, all of which lie behind the state's position.
  void feed_and_score(SequenceState& state, const Batch& batch);
  ForwardResult forward(SequenceState& state, std::span<const int32_t> rows, Logits logits);
  void add_scores(const float* logits, int64_t first_row, int64_t rows, const Batch& batch);

  const int64_t vocab_size_;
  const ScorerSettings settings_;
  Parallel& parallel_;
  const int64_t max_rows_;  // of a forward call
  Executor executor_;
  SequenceState trunk_;                  // what the requests of a call have in common
  std::optional<SequenceState> branch_;  // one request behind it; not under top-k
  std::optional<SequenceState> kept_;    // what calls had in common; not under top-k
  std::vector<int32_t> kept_tokens_;     // what kept_ has seen
  std::vector<int32_t> last_common_;     // what the requests of the last call had in common
  float depth_shift_ = 0;
  std::function<void(std::span<const uint8_t>)> depth_watcher_;
  WorkSpent spent_;
};

}  // namespace fathom::eval
