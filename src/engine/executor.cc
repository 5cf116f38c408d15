#include "engine/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/check.h"
#include "engine/layer_runner.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/linear/linear.h"
#include "kernels/router/router.h"

namespace fathom {

using kernels::RowRange;

namespace {

kernels::RouterScore score_of(const RouterSpec& spec) {
  switch (spec.score) {
    case ScoreFunction::kSigmoid:
      return kernels::RouterScore::kSigmoid;
    case ScoreFunction::kTanh:
      return kernels::RouterScore::kTanh;
    case ScoreFunction::kNone:
      return kernels::RouterScore::kIdentity;
    case ScoreFunction::kSoftmax:
      break;
  }
  FATHOM_CHECK(false, "softmax scores belong to token choice");
  return kernels::RouterScore::kSigmoid;
}

}  // namespace

struct Executor::Impl {
  Impl(const ModelPlan& model, const Weights& values, int64_t rows, int64_t context_length, Parallel& pool)
      : plan(model),
        weights(values),
        max_rows(rows),
        context(context_length),
        parallel(pool),
        layers(model, values, rows, context_length, pool) {
    carve();
    scratch.allocate();
    carve();
  }

  void carve() {
    const int64_t hidden_size = plan.dims.hidden_size;
    hidden = scratch.take<float>(max_rows * hidden_size);
    candidates = scratch.take<float>(max_rows * hidden_size);
    routed = scratch.take<float>(max_rows * hidden_size);
    logits = scratch.take<float>(max_logit_rows() * plan.dims.vocab_size);
    final_hidden = scratch.take<float>(max_rows * hidden_size);
    positions = scratch.take<int32_t>(max_rows);
    active = scratch.take<int32_t>(max_rows);
    kept = scratch.take<int32_t>(max_rows);
    kept_rows = scratch.take<int32_t>(max_rows);
    top_k_workspace = scratch.take<int32_t>(max_rows);
    routed_positions = scratch.take<int32_t>(max_rows);
    router_logits = scratch.take<float>(max_rows);
    router_weights = scratch.take<float>(max_rows);
    kept_weights = scratch.take<float>(max_rows);
    scores = scratch.take<float>(max_rows);
    depths = scratch.take<uint8_t>(max_rows);
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
    FATHOM_CHECK(state.position() + rows <= context,
                 "the sequence is longer than its context of " + std::to_string(context) + " tokens");
    for (int64_t r = 0; r < rows; ++r) positions[r] = static_cast<int32_t>(state.position() + r);

    const Weights::Array& table = weights.at(plan.embedding.at(0));
    kernels::embedding_fwd_cpu({.ids = tokens.data(),
                                .table = table.data,
                                .table_type = table.type,
                                .y = hidden,
                                .rows = rows,
                                .dim = plan.dims.hidden_size,
                                .vocab = plan.dims.vocab_size},
                               running(EngineOp::kEmbedding));
    layers.begin_call(state);
    watch("embedding", hidden, rows);
    const int64_t key_rows = options.key_rows > 0 ? options.key_rows : rows;
    bool is_routed = false;
    for (const Segment& segment : plan.segments) {
      if (segment.router) {
        is_routed = true;
        run_routed(segment, state, rows, key_rows, options);
      } else {
        for (int32_t depth = 0; depth < segment.repeat; ++depth) {
          for (const Layer& layer : segment.layers) {
            layers.run(layer, depth, hidden, {rows, key_rows, positions}, state);
            watch_layer(layer, segment, depth, rows);
          }
        }
      }
    }
    state.advance(rows);

    ForwardResult result;
    result.logits = head(rows, options.all_logits);
    if (is_routed) {
      result.depths = {depths, static_cast<size_t>(rows)};
      result.scores = {scores, static_cast<size_t>(rows)};
    }
    return result;
  }

  // One pass after another over the rows that the router keeps (Mixture-of-Recursions 3.3).
  void run_routed(const Segment& segment, SequenceState& state, int64_t rows, int64_t key_rows,
                  const ForwardOptions& options) {
    const RouterSpec& spec = segment.router->spec;
    const int64_t dim = plan.dims.hidden_size;
    const int32_t passes =
        options.max_depth > 0 ? std::min(options.max_depth, segment.repeat) : segment.repeat;
    FATHOM_CHECK(
        options.routing != RoutingMode::kReplay || options.replay_depths.size() == static_cast<size_t>(rows),
        "depths to replay: got " + std::to_string(options.replay_depths.size()) +
            ", expected one of each of " + std::to_string(rows) + " rows");
    FATHOM_CHECK(options.routing != RoutingMode::kTopK || state.position() == 0,
                 "top-k routing scores a whole sequence in one call");
    std::memset(depths, 0, static_cast<size_t>(rows));
    std::fill(scores, scores + rows, 0.0F);
    int64_t num_active = rows;
    for (int64_t r = 0; r < rows; ++r) active[r] = static_cast<int32_t>(r);

    for (int32_t depth = 0; depth < passes && num_active > 0; ++depth) {
      kernels::gather_rows_cpu({hidden, active, candidates, num_active, dim}, running(EngineOp::kGatherRows));
      kernels::router_fwd_cpu({.x = candidates,
                               .weight = weights.f32(segment.router->weight.at(depth)),
                               .logits = router_logits,
                               .weights = router_weights,
                               .rows = num_active,
                               .dim = dim,
                               .temperature = static_cast<float>(spec.temperature),
                               .alpha = static_cast<float>(spec.alpha),
                               .score = score_of(spec)},
                              running(EngineOp::kRouter));
      const int64_t num_kept = choose(spec, depth, rows, num_active, options);
      watch_router(depth, num_active, num_kept);

      // `kept` counts among the candidates; `kept_rows` are rows of the call.
      int64_t kept_key_rows = 0;
      for (int64_t i = 0; i < num_kept; ++i) {
        const int32_t row = active[kept[i]];
        kept_key_rows += row < key_rows ? 1 : 0;
        kept_rows[i] = row;
        kept_weights[i] = router_weights[kept[i]];
        routed_positions[i] = positions[row];
        depths[row] = static_cast<uint8_t>(depth + 1);
        scores[row] = kept_weights[i];
      }
      if (num_kept == 0) return;
      kernels::gather_rows_cpu({candidates, kept, routed, num_kept, dim}, running(EngineOp::kGatherRows));
      for (const Layer& layer : segment.layers)

        layers.run(layer, depth, routed, {num_kept, kept_key_rows, routed_positions}, state);

      kernels::scatter_add_rows_cpu(
          {.x = routed,
           .index = kept_rows,
           .weights = segment.combine == Combine::kWeighted ? kept_weights : nullptr,
           .y = hidden,
           .rows = num_kept,
           .dim = dim},
          running(EngineOp::kScatterAddRows));
      if (trace) watch("pass." + std::to_string(depth), hidden, rows);
      std::swap(active, kept_rows);
      num_active = num_kept;
    }
  }

  // Fills `kept` with the candidates that make pass `depth`; returns how many.
  int64_t choose(const RouterSpec& spec, int32_t depth, int64_t rows, int64_t num_active,
                 const ForwardOptions& options) {
    const auto d = static_cast<size_t>(depth);
    if (options.routing == RoutingMode::kTopK) {
      const int64_t keep = kernels::router_capacity(spec.capacity[d], rows, num_active);
      const RowRange all{0, num_active};
      kernels::router_top_k_cpu({.weights = router_weights,
                                 .logits = router_logits,
                                 .sequences = &all,
                                 .keep = &keep,
                                 .num_sequences = 1,
                                 .kept = kept,
                                 .workspace = top_k_workspace},
                                running(EngineOp::kRouter));
      return keep;
    }
    const float threshold = spec.threshold.empty() ? 0.0F : static_cast<float>(spec.threshold[d]);
    int64_t count = 0;
    for (int64_t i = 0; i < num_active; ++i) {
      const bool goes_on = options.routing == RoutingMode::kReplay
                               ? options.replay_depths[static_cast<size_t>(active[i])] > depth
                               : depth == 0 || router_logits[i] >= threshold;
      if (goes_on) kept[count++] = static_cast<int32_t>(i);
    }
    return count;
  }

  const float* head(int64_t rows, bool all) {
    const int64_t dim = plan.dims.hidden_size;
    const int64_t first = all ? 0 : rows - 1;
    const int64_t count = rows - first;
    layers.norm(plan.final_norm, 0, hidden + first * dim, final_hidden, count);
    watch("final_norm", final_hidden, count);
    const Weights::Array& matrix = weights.at(plan.head.at(0));
    kernels::linear_fwd_cpu({.x = final_hidden,
                             .weight = matrix.data,
                             .weight_type = matrix.type,
                             .y = logits,
                             .rows = count,
                             .in = dim,
                             .out = plan.dims.vocab_size,
                             .x_stride = dim,
                             .y_stride = plan.dims.vocab_size,
                             .scale = static_cast<float>(plan.logit_scale),
                             .workspace = head_workspace},
                            running(EngineOp::kHead));
    return logits;
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

  void watch_router(int32_t depth, int64_t num_active, int64_t num_kept) {
    if (!trace) return;
    const std::string name = "router." + std::to_string(depth);
    trace(name + ".logits", router_logits, num_active, 1);
    trace(name + ".weights", router_weights, num_active, 1);
    std::vector<float> numbers(active, active + num_active);
    trace(name + ".candidates", numbers.data(), num_active, 1);
    for (int64_t i = 0; i < num_kept; ++i)
      numbers[static_cast<size_t>(i)] = static_cast<float>(active[kept[i]]);
    trace(name + ".kept", numbers.data(), num_kept, 1);
  }

  const ModelPlan& plan;
  const Weights& weights;
  const int64_t max_rows;
  const int64_t context;
  Parallel& parallel;
  LayerRunner layers;
  Trace trace;
  OpObserver* observer = nullptr;
  Scratch scratch;

  float *hidden = nullptr, *candidates = nullptr, *routed = nullptr, *logits = nullptr,
        *final_hidden = nullptr;
  int32_t *positions = nullptr, *active = nullptr, *kept = nullptr, *kept_rows = nullptr,
          *top_k_workspace = nullptr, *routed_positions = nullptr;
  float *router_logits = nullptr, *router_weights = nullptr, *kept_weights = nullptr, *scores = nullptr;
  uint8_t *depths = nullptr, *head_workspace = nullptr;
};

Executor::Executor(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
                   Parallel& parallel)
    : impl_(std::make_unique<Impl>(plan, weights, max_rows, context, parallel)) {}
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
}

int64_t Executor::scratch_bytes() const { return impl_->scratch.bytes() + impl_->layers.scratch_bytes(); }

}  // namespace fathom
