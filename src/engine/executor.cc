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
       const Numerics& numerics)
      : plan(model),
        weights(values),
        max_rows(rows),
        context(context_length),
        last_state(last_state_layer(model)),
        parallel(pool),
        layers(model, values, rows, context_length, pool, numerics),
        routed(model, values, is_routed(model) ? rows : 0, layers, pool) {
    routed.set_trace(&trace);
    carve();
    scratch.allocate();
    carve();
  }

  void carve() {
    const int64_t hidden_size = plan.dims.hidden_size;
    hidden = scratch.take<float>(max_rows * hidden_size);
    logits = scratch.take<float>(max_logit_rows() * plan.dims.vocab_size);
    final_hidden = scratch.take<float>(max_rows * hidden_size);
    positions = scratch.take<int32_t>(max_rows);
    head_workspace =
        scratch.take<uint8_t>(kernels::linear_fwd_workspace(max_rows, hidden_size, DType::kBF16));
  }

  OpScope running(EngineOp op) { return {observer, op, parallel}; }

  // All rows of a call may be scored at once.
  int64_t max_logit_rows() const { return max_rows; }

  ForwardResult forward(SequenceState& state, std::span<const int32_t> tokens,
                        const ForwardOptions& options) {
    const auto rows = static_cast<int64_t>(tokens.size());
    FATHOM_CHECK(rows > 0 && rows <= max_rows,
                 std::to_string(rows) + " rows in one call, expected 1 to " + std::to_string(max_rows));
    FATHOM_CHECK(state.first_position() + state.position() + rows <= context,
                 "the sequence is longer than its context of " + std::to_string(context) + " tokens");
    for (int64_t r = 0; r < rows; ++r) positions[r] = static_cast<int32_t>(state.position() + r);

    const Weights::Array& table = weights.at(plan.embedding.at(0));
    kernels::embedding_fwd_cpu({.ids = tokens.data(),
                                .table = table.data,
                                .table_type = table.type,
                                .y = hidden,
                                .rows = rows,
                                .dim = plan.dims.hidden_size,
                                .vocab = plan.dims.vocab_size,
                                .table_scale = table.scale},
                               running(EngineOp::kEmbedding));
    layers.begin_call(state);
    routed.begin_call(is_routed(plan) ? rows : 0);
    watch("embedding", hidden, rows);
    const int64_t key_rows = options.key_rows > 0 ? options.key_rows : rows;
    const int64_t wanted = rows_wanted(rows, options.logits);
    // Behind the last layer with a state. A choice among the rows of the call needs all of them.
    const bool compared = options.routing == RoutingMode::kTopK && routes_behind_state(plan);
    const int64_t staying = options.prefill_shortcut && !compared ? wanted : rows;
    Rows going{rows, key_rows, positions};
    int32_t unrolled = 0;
    for (const Segment& segment : plan.segments) {
      if (going.count == 0) break;
      if (segment.router) {
        check_routing(rows, options);
        routed.run(segment, state, hidden + going.first * plan.dims.hidden_size, going, options);
        unrolled += segment.repeat * static_cast<int32_t>(segment.layers.size());
        if (unrolled > last_state) going = going.last(std::min(going.count, staying));
        continue;
      }
      for (int32_t depth = 0; depth < segment.repeat && going.count > 0; ++depth) {
        for (const Layer& layer : segment.layers) {
          going.leaving = unrolled == last_state ? going.count - staying : 0;
          layers.run(segment, layer, depth, hidden + going.first * plan.dims.hidden_size, going, state);
          if (unrolled++ >= last_state) going = going.last(std::min(going.count, staying));
          if (going.count == 0) break;
          watch_layer(layer, segment, depth, going);
        }
      }
    }
    state.advance(rows);

    ForwardResult result;
    if (wanted > 0) result.logits = head(rows, wanted);
    if (is_routed(plan)) {
      result.depths = routed.depths();
      result.scores = routed.scores();
    }
    return result;
  }

  static void check_routing(int64_t rows, const ForwardOptions& options) {
    FATHOM_CHECK(
        options.routing != RoutingMode::kReplay || options.replay_depths.size() == static_cast<size_t>(rows),
        "depths to replay: got " + std::to_string(options.replay_depths.size()) +
            ", expected one of each of " + std::to_string(rows) + " rows");
  }

  static int64_t rows_wanted(int64_t rows, Logits logits) {
    if (logits == Logits::kAll) return rows;
    return logits == Logits::kLast ? 1 : 0;
  }

  // Of the last `count` rows.
  const float* head(int64_t rows, int64_t count) {
    const int64_t dim = plan.dims.hidden_size, first = rows - count;
    layers.norm(plan.final_norm, 0, hidden + first * dim, final_hidden, count);
    watch("final_norm", final_hidden, count);
    const Weights::Array& matrix = weights.at(plan.head.at(0));
    kernels::linear_fwd_cpu({.x = final_hidden,
                             .weight = matrix.data,
                             .weight_type = matrix.type,
                             .weight_scale = matrix.scale,
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
    return logits;
  }

  void watch(std::string_view name, const float* data, int64_t rows) {
    if (trace) trace(name, data, rows, plan.dims.hidden_size);
  }

  void watch_layer(const Layer& layer, const Segment& segment, int32_t depth, const Rows& rows) {
    if (!trace) return;
    layers.watch_memory(layer, rows, trace);
    const auto index = layer.index + depth * static_cast<int32_t>(segment.layers.size());
    watch("layer." + std::to_string(index), hidden + rows.first * plan.dims.hidden_size, rows.count);
  }

  const ModelPlan& plan;
  const Weights& weights;
  const int64_t max_rows;
  const int64_t context;
  const int32_t last_state;
  Parallel& parallel;
  LayerRunner layers;
  RoutedSegment routed;
  Trace trace;
  OpObserver* observer = nullptr;
  Scratch scratch;

  float *hidden = nullptr, *logits = nullptr, *final_hidden = nullptr;
  int32_t* positions = nullptr;
  uint8_t* head_workspace = nullptr;
};

Executor::Executor(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
                   Parallel& parallel, const Numerics& numerics)
    : impl_(std::make_unique<Impl>(plan, weights, max_rows, context, parallel, numerics)) {}
Executor::~Executor() = default;

SequenceState Executor::make_state(DType kv_type) const {
  return SequenceState(impl_->plan, impl_->context, impl_->max_rows, kv_type);
}

ForwardResult Executor::forward(SequenceState& state, std::span<const int32_t> tokens,
                                const ForwardOptions& options) {
  return impl_->forward(state, tokens, options);
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

Parallel& Executor::pool() const { return impl_->parallel; }

}  // namespace fathom
