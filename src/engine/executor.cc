#include "engine/executor.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "engine/layer_runner.h"
#include "engine/routed_segment.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear/linear.h"

namespace fathom {

struct Executor::Impl {
  Impl(const ModelPlan& model, const Weights& values, int64_t rows, int64_t context_length, Parallel& pool,
       const Numerics& numerics, int64_t logit_rows)
      : plan(model),
        weights(values),
        max_rows(rows),
        max_logits(logit_rows > 0 ? std::min(logit_rows, rows) : rows),
        context(context_length),
        last_state(last_state_layer(model)),
        parallel(pool),
        layers(model, values, rows, context_length, pool, numerics),
        routed(model, values, is_routed(model) ? rows : 0, layers, pool),
        all(rows),
        staying(rows),
        wanted(rows) {
    results.reserve(static_cast<size_t>(rows));
    routed.set_trace(&trace);
    carve();
    scratch.allocate();
    carve();
  }

  void carve() {
    const int64_t hidden_size = plan.dims.hidden_size;
    hidden = scratch.take<float>(max_rows * hidden_size);
    logits = scratch.take<float>(max_logits * plan.dims.vocab_size);
    final_hidden = scratch.take<float>(max_logits * hidden_size);
    ids = scratch.take<int32_t>(max_rows);
    depths = scratch.take<uint8_t>(max_rows);
    routed_depths = scratch.take<uint8_t>(max_rows);
    scores = scratch.take<float>(max_rows);
    routed_scores = scratch.take<float>(max_rows);
    head_workspace = scratch.take<uint8_t>(kernels::linear_fwd_workspace(max_logits, hidden_size));
  }

  OpScope running(EngineOp op) { return {observer, op, parallel}; }

  std::span<const ForwardResult> forward(std::span<const SequenceCall> calls) {
    take_rows(calls);
    Rows going = all.rows();
    const int64_t rows = going.count;
    embed(calls, rows);
    watch("embedding", hidden, rows);
    std::fill(depths, depths + rows, uint8_t{0});
    std::fill(scores, scores + rows, 0.0F);
    // Those that go on behind the last layer with a state.
    staying.take_last(going, [&](const SequenceRows& s) { return rows_behind_state(s); });
    int32_t unrolled = 0;
    for (const Segment& segment : plan.segments) {
      if (going.count == 0) break;
      if (segment.router) {
        run_routed(segment, going);
        unrolled += segment.repeat * static_cast<int32_t>(segment.layers.size());
        if (unrolled > last_state) {
          layers.leave(going, staying.rows(), hidden);
          going = staying.rows();
        }
        continue;
      }
      for (int32_t depth = 0; depth < segment.repeat && going.count > 0; ++depth) {
        for (const Layer& layer : segment.layers) {
          const Rows next = unrolled++ == last_state ? staying.rows() : going;
          layers.run(segment, layer, depth, hidden, going, next);
          going = next;
          if (going.count == 0) break;
          watch_layer(layer, segment, depth, going.count);
        }
      }
    }
    collect(calls, going);
    return results;
  }

  // The rows of a call, checked.
  void take_rows(std::span<const SequenceCall> calls) {
    int64_t rows = 0;
    for (const SequenceCall& call : calls) rows += static_cast<int64_t>(call.tokens.size());
    FATHOM_CHECK(rows > 0 && rows <= max_rows,
                 std::to_string(rows) + " rows in one call, expected 1 to " + std::to_string(max_rows));
    all.clear();
    for (size_t c = 0; c < calls.size(); ++c) {
      const SequenceCall& call = calls[c];
      SequenceState& state = *call.state;
      const auto count = static_cast<int64_t>(call.tokens.size());
      FATHOM_CHECK(count > 0, "a sequence without rows");
      FATHOM_CHECK(state.context() == context, "the state was made for another context length");
      FATHOM_CHECK(state.first_position() + state.position() + count <= context,
                   "the sequence is longer than its context of " + std::to_string(context) + " tokens");
      FATHOM_CHECK(!is_routed(plan) || call.options.routing != RoutingMode::kReplay ||
                       call.options.replay_depths.size() == call.tokens.size(),
                   "depths to replay: got " + std::to_string(call.options.replay_depths.size()) +
                       ", expected one of each of " + std::to_string(count) + " rows");
      for (size_t other = 0; other < c; ++other)
        FATHOM_CHECK(calls[other].state != call.state, "a sequence twice in one call");
      const int64_t key_rows = call.options.key_rows > 0 ? call.options.key_rows : count;
      all.add(state, call.options, count, key_rows);
    }
  }

  void embed(std::span<const SequenceCall> calls, int64_t rows) {
    int32_t* id = ids;
    for (const SequenceCall& call : calls) id = std::copy(call.tokens.begin(), call.tokens.end(), id);
    const Weights::Array& table = weights.at(plan.embedding.at(0));
    kernels::embedding_fwd_cpu({.ids = ids,
                                .table = table.data,
                                .table_type = table.type,
                                .y = hidden,
                                .rows = rows,
                                .dim = plan.dims.hidden_size,
                                .vocab = plan.dims.vocab_size,
                                .table_scale = table.scale},
                               running(EngineOp::kEmbedding));
  }

  static int64_t rows_wanted(const SequenceRows& s) {
    if (s.options->logits == Logits::kAll) return s.rows.size();
    return s.options->logits == Logits::kLast ? std::min(s.options->last_rows, s.rows.size()) : 0;
  }

  // A choice among the rows of the call needs all of them.
  int64_t rows_behind_state(const SequenceRows& s) const {
    const bool compared = s.options->routing == RoutingMode::kTopK && routes_behind_state(plan);
    return s.options->prefill_shortcut && !compared ? rows_wanted(s) : s.rows.size();
  }

  void run_routed(const Segment& segment, const Rows& going) {
    routed.run(segment, going, hidden, routed_depths, routed_scores);
    for (const SequenceRows& s : going.sequences) {
      const int64_t at = all.rows().sequences[static_cast<size_t>(s.sequence)].rows.begin + s.left_behind;
      std::copy(routed_depths + s.rows.begin, routed_depths + s.rows.end, depths + at);
      std::copy(routed_scores + s.rows.begin, routed_scores + s.rows.end, scores + at);
    }
  }

  // The results, of what is left in `hidden`.
  void collect(std::span<const SequenceCall> calls, const Rows& going) {
    wanted.take_last(going, [](const SequenceRows& s) { return rows_wanted(s); });
    const Rows with_logits = wanted.rows();
    FATHOM_CHECK(with_logits.count <= max_logits, "logits of " + std::to_string(with_logits.count) +
                                                      " rows, expected " + std::to_string(max_logits) +
                                                      " at most");
    keep_last(going, with_logits, hidden, plan.dims.hidden_size);
    if (with_logits.count > 0) head(with_logits.count);
    results.assign(calls.size(), {});
    for (const SequenceRows& s : with_logits.sequences)
      results[static_cast<size_t>(s.sequence)].logits = logits + s.rows.begin * plan.dims.vocab_size;
    for (const SequenceRows& s : all.rows().sequences) {
      s.state->advance(s.rows.size());
      if (!is_routed(plan)) continue;
      ForwardResult& result = results[static_cast<size_t>(s.sequence)];
      result.depths = {depths + s.rows.begin, static_cast<size_t>(s.rows.size())};
      result.scores = {scores + s.rows.begin, static_cast<size_t>(s.rows.size())};
    }
  }

  // Logits of the first `count` rows.
  void head(int64_t count) {
    const int64_t dim = plan.dims.hidden_size;
    layers.norm(plan.final_norm, 0, hidden, final_hidden, count);
    watch("final_norm", final_hidden, count);
    const Weights::Array& matrix = weights.at(plan.head.at(0));
    kernels::linear_fwd_cpu({.x = final_hidden,
                             .weight = matrix.data,
                             .weight_type = matrix.type,
                             .weight_scale = matrix.scale,
                             .groups = matrix.groups,
                             .group = matrix.group,
                             .y = logits,
                             .rows = count,
                             .in = dim,
                             .out = plan.dims.vocab_size,
                             .x_stride = dim,
                             .y_stride = plan.dims.vocab_size,
                             .scale = static_cast<float>(plan.logit_scale),
                             .workspace = head_workspace},
                            running(EngineOp::kHead));
    layers.round(logits, count * plan.dims.vocab_size);
  }

  void watch(std::string_view name, const float* data, int64_t rows) {
    if (trace) trace(name, data, rows, plan.dims.hidden_size);
  }

  void watch_layer(const Layer& layer, const Segment& segment, int32_t depth, int64_t rows) {
    if (!trace) return;
    layers.watch_memory(layer, rows, trace);
    const auto index = layer.index + depth * static_cast<int32_t>(segment.layers.size());
    watch("layer." + std::to_string(index), hidden, rows);
  }

  const ModelPlan& plan;
  const Weights& weights;
  const int64_t max_rows;
  const int64_t max_logits;
  const int64_t context;
  const int32_t last_state;
  Parallel& parallel;
  LayerRunner layers;
  RoutedSegment routed;
  Trace trace;
  OpObserver* observer = nullptr;
  RowSet all, staying, wanted;
  std::vector<ForwardResult> results;
  Scratch scratch;

  float *hidden = nullptr, *logits = nullptr, *final_hidden = nullptr;
  int32_t* ids = nullptr;
  // By row of the call, and by row of those that come to the routed segment.
  uint8_t *depths = nullptr, *routed_depths = nullptr;
  float *scores = nullptr, *routed_scores = nullptr;
  uint8_t* head_workspace = nullptr;
};

Executor::Executor(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
                   Parallel& parallel, const Numerics& numerics, int64_t max_logits)
    : impl_(std::make_unique<Impl>(plan, weights, max_rows, context, parallel, numerics, max_logits)) {}
Executor::~Executor() = default;

SequenceState Executor::make_state(DType kv_type) const {
  return SequenceState(impl_->plan, impl_->context, impl_->max_rows, kv_type);
}
SequenceState Executor::make_state(DType kv_type, std::shared_ptr<StateMemory> memory) const {
  return SequenceState(impl_->plan, impl_->context, impl_->max_rows, kv_type, std::move(memory));
}

ForwardResult Executor::forward(SequenceState& state, std::span<const int32_t> tokens,
                                const ForwardOptions& options) {
  const SequenceCall call{&state, tokens, options};
  return impl_->forward({&call, 1}).front();
}

std::span<const ForwardResult> Executor::forward(std::span<const SequenceCall> calls) {
  return impl_->forward(calls);
}

void Executor::set_trace(Trace trace) { impl_->trace = std::move(trace); }

void Executor::set_observer(OpObserver* observer) {
  impl_->observer = observer;
  impl_->layers.set_observer(observer);
  impl_->routed.set_observer(observer);
}

int64_t Executor::scratch_bytes() const {
  return impl_->scratch.bytes() + impl_->layers.scratch_bytes() + impl_->routed.scratch_bytes();
}

int64_t Executor::max_logits() const { return impl_->max_logits; }

Parallel& Executor::pool() const { return impl_->parallel; }

}  // namespace fathom
