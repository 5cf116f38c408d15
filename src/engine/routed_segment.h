// Runs a segment under its router (Mixture-of-Recursions, sections 3 and 4) over rows of a call: which of
// them make which pass, and how what they become joins the residual stream. Each sequence has its own
// options; of the published rule the rows of one sequence compete among themselves.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "engine/executor.h"
#include "engine/layer_runner.h"
#include "engine/op_observer.h"
#include "engine/rows.h"
#include "engine/scratch.h"
#include "plan/model_plan.h"
#include "state/sequence_state.h"
#include "weights/weights.h"

namespace fathom {

class RoutedSegment {
 public:
  // All arguments outlive the object. Memory for calls of up to `max_rows` rows.
  RoutedSegment(const ModelPlan& plan, const Weights& weights, int64_t max_rows, LayerRunner& layers,
                Parallel& parallel);

  // Changes hidden, [rows, hidden_size], the residual stream of the rows that come here. Writes the passes
  // that each made and the router weight of its last, [rows] both, 0 for a row that made none.
  void run(const Segment& segment, const Rows& rows, float* hidden, uint8_t* depths, float* scores);

  void set_trace(const Trace* trace) { trace_ = trace; }  // null or empty: nobody watches
  void set_observer(OpObserver* observer) { observer_ = observer; }
  int64_t scratch_bytes() const { return scratch_.bytes(); }

 private:
  struct Call;  // the arguments of run()

  OpScope running(EngineOp op) { return {observer_, op, parallel_}; }
  bool watched() const { return trace_ != nullptr && *trace_; }
  void carve();
  void run_expert_choice(const Call& call);
  void run_token_choice(const Call& call);
  // Logits of a router over x, [rows, hidden_size], and the weights that follow from them.
  void route(const Segment& segment, const ParamRef& weight, const ParamRef& hidden, double temperature,
             int32_t depth, const float* x, int64_t rows, float* logits, float* weights);
  // Scores that nobody learns (3.1): uniform numbers, as logits too.
  // Random scores of the active rows for a depth, into `column` of [rows, outputs].
  void draw(const Call& call, int32_t depth, int64_t num_active, int64_t outputs, int64_t column);
  static int32_t replayed_depth(const SequenceRows& sequence, int64_t row);
  // Passes that a row of the sequence makes at the most.
  static int32_t most_passes(const Segment& segment, const SequenceRows& sequence);
  // Calls visit(sequence, candidates) for each sequence that has some among active_, [num_active].
  template <class Visit>
  void for_each_sequence(const Rows& rows, int64_t num_active, Visit visit) const;
  // Fills `kept_` with the candidates that make pass `depth`; returns how many.
  int64_t choose(const Call& call, int32_t depth, int64_t num_active);
  // Takes from active_ the rows whose sequence makes no more passes than `depth`; returns how many are left.
  int64_t drop_capped(const Call& call, int32_t depth, int64_t num_active);
  // Sets the depth of each row and its weight under token choice.
  void choose_depths(const Call& call);
  // One pass over x, [count, hidden_size], which are the rows `active` of those that came here.
  void run_layers(const Call& call, int32_t depth, float* x, const int32_t* active, int64_t count);
  // hidden[rows] += weight * from, for `count` rows of the call.
  void join(const Call& call, const float* from, const int32_t* rows, const float* weights, int64_t count);
  void watch(const char* name, const float* data, int64_t rows, int64_t columns) const;
  void watch_choice(const Call& call, int32_t depth, int64_t num_active, int64_t num_kept) const;

  const ModelPlan& plan_;
  const Weights& weights_;
  const int64_t max_rows_;
  LayerRunner& layers_;
  Parallel& parallel_;
  int64_t most_outputs_ = 1;  // of any router
  int64_t most_hidden_ = 0;   // hidden layer of any router, 0: all are linear
  OpObserver* observer_ = nullptr;
  const Trace* trace_ = nullptr;

  RowSet picked_;
  Scratch scratch_;
  float *candidates_ = nullptr, *routed_ = nullptr, *router_hidden_ = nullptr;
  float *logits_ = nullptr, *weights_of_rows_ = nullptr;  // [rows, outputs] of the router
  float* biases_ = nullptr;                               // [outputs] of token choice
  float *aux_logits_ = nullptr, *aux_weights_ = nullptr;  // of a second router
  float* kept_weights_ = nullptr;                         // [rows]
  int32_t *active_ = nullptr, *kept_ = nullptr, *kept_rows_ = nullptr, *chosen_ = nullptr;
  int32_t* top_k_workspace_ = nullptr;
  uint8_t* linear_workspace_ = nullptr;
};

}  // namespace fathom
