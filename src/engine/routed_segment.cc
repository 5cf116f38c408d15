#include "engine/routed_segment.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/gelu/gelu.h"
#include "kernels/linear/linear.h"
#include "kernels/router/router.h"

namespace fathom {

using kernels::RowRange;

namespace {

constexpr uint64_t kDrawSeed = 0;  // of random scores: a token's do not depend on the run

kernels::RouterScore score_of(const RouterSpec& spec) {
  switch (spec.score) {
    case ScoreFunction::kSigmoid:
      return kernels::RouterScore::kSigmoid;
    case ScoreFunction::kTanh:
      return kernels::RouterScore::kTanh;
    case ScoreFunction::kNone:
      return kernels::RouterScore::kIdentity;
    case ScoreFunction::kSoftmax:
      return kernels::RouterScore::kSoftmax;
  }
  return kernels::RouterScore::kSigmoid;
}

}  // namespace

struct RoutedSegment::Call {
  const Segment& segment;
  const RouterSpec& spec;
  const Rows& rows;
  float* hidden;
  uint8_t* depths;  // [rows]
  float* scores;    // [rows]
};

RoutedSegment::RoutedSegment(const ModelPlan& plan, const Weights& weights, int64_t max_rows,
                             LayerRunner& layers, Parallel& parallel)
    : plan_(plan),
      weights_(weights),
      max_rows_(max_rows),
      layers_(layers),
      parallel_(parallel),
      picked_(max_rows) {
  for (const Segment& segment : plan.segments) {
    if (!segment.router) continue;
    if (segment.router->spec.kind == RouterKind::kTokenChoice)
      most_outputs_ = std::max<int64_t>(most_outputs_, segment.repeat);
    if (segment.router->hidden.present()) {
      most_hidden_ = std::max(most_hidden_, segment.router->spec.mlp_ratio * plan.dims.hidden_size);
    }
  }
  carve();
  scratch_.allocate();
  carve();
}

void RoutedSegment::carve() {
  const int64_t rows = max_rows_, hidden_size = plan_.dims.hidden_size;
  candidates_ = scratch_.take<float>(rows * hidden_size);
  routed_ = scratch_.take<float>(rows * hidden_size);
  router_hidden_ = scratch_.take<float>(rows * most_hidden_);
  logits_ = scratch_.take<float>(rows * most_outputs_);
  weights_of_rows_ = scratch_.take<float>(rows * most_outputs_);
  biases_ = scratch_.take<float>(most_outputs_);
  aux_logits_ = scratch_.take<float>(rows);
  aux_weights_ = scratch_.take<float>(rows);
  kept_weights_ = scratch_.take<float>(rows);
  active_ = scratch_.take<int32_t>(rows);
  kept_ = scratch_.take<int32_t>(rows);
  kept_rows_ = scratch_.take<int32_t>(rows);
  chosen_ = scratch_.take<int32_t>(rows);
  top_k_workspace_ = scratch_.take<int32_t>(rows);
  linear_workspace_ = scratch_.take<uint8_t>(
      most_hidden_ > 0 ? kernels::linear_fwd_workspace(rows, hidden_size, DType::kF32) : 0);
}

int32_t RoutedSegment::most_passes(const Segment& segment, const SequenceRows& sequence) {
  const int32_t most = sequence.options->max_depth;
  return most > 0 ? std::min(most, segment.repeat) : segment.repeat;
}

template <class Visit>
void RoutedSegment::for_each_sequence(const Rows& rows, int64_t num_active, Visit visit) const {
  int64_t i = 0;
  for (const SequenceRows& sequence : rows.sequences) {
    const int64_t begin = i;
    while (i < num_active && active_[i] < sequence.rows.end) ++i;
    if (i > begin) visit(sequence, RowRange{begin, i});
  }
}

void RoutedSegment::run(const Segment& segment, const Rows& rows, float* hidden, uint8_t* depths,
                        float* scores) {
  FATHOM_CHECK(rows.count <= max_rows_, "more rows than the segment has memory for");
  const Call call{segment, segment.router->spec, rows, hidden, depths, scores};
  std::fill(depths, depths + rows.count, uint8_t{0});
  std::fill(scores, scores + rows.count, 0.0F);
  for (int64_t r = 0; r < rows.count; ++r) active_[r] = static_cast<int32_t>(r);
  if (call.spec.kind == RouterKind::kExpertChoice) {
    run_expert_choice(call);
  } else {
    run_token_choice(call);
  }
}

// Section 3.3: before each pass its router chooses among the rows that made the one before.
void RoutedSegment::run_expert_choice(const Call& call) {
  const Router& router = *call.segment.router;
  const int64_t dim = plan_.dims.hidden_size;
  int64_t num_active = call.rows.count;
  for (int32_t depth = 0; depth < call.segment.repeat && num_active > 0; ++depth) {
    kernels::gather_rows_cpu({call.hidden, active_, candidates_, num_active, dim},
                             running(EngineOp::kGatherRows));
    if (call.spec.random) {
      draw(call, depth, num_active, 1, 0);
    } else {
      route(call.segment, router.weight, router.hidden, call.spec.temperature, depth, candidates_, num_active,
            logits_, weights_of_rows_);
    }
    // The second router reads the residual stream as it is, whatever the temperature of the first (3.4).
    if (router.aux_weight.present()) {
      route(call.segment, router.aux_weight, router.aux_hidden, 1.0, depth, candidates_, num_active,
            aux_logits_, aux_weights_);
    }
    const int64_t num_kept = choose(call, depth, num_active);
    watch_choice(call, depth, num_active, num_kept);
    // The first pass writes keys of all rows where later ones read them; those not kept leave nothing else.
    const bool all_run = depth == 0 && call.segment.kv != KvMode::kRecursionWise;
    if (all_run) run_layers(call, depth, candidates_, active_, num_active);
    for (int64_t i = 0; i < num_kept; ++i) {
      const int32_t row = active_[kept_[i]];
      kept_rows_[i] = row;
      kept_weights_[i] = weights_of_rows_[kept_[i]];
      call.depths[row] = static_cast<uint8_t>(depth + 1);
      call.scores[row] = kept_weights_[i];
    }
    if (num_kept == 0) return;
    kernels::gather_rows_cpu({candidates_, kept_, routed_, num_kept, dim}, running(EngineOp::kGatherRows));
    if (!all_run) run_layers(call, depth, routed_, kept_rows_, num_kept);
    join(call, routed_, kept_rows_, kept_weights_, num_kept);
    if (watched()) watch(("pass." + std::to_string(depth)).c_str(), call.hidden, call.rows.count, dim);
    std::swap(active_, kept_rows_);
    num_active = drop_capped(call, depth + 1, num_kept);
  }
}

// Section 4: how many passes a row makes is settled before the first. What a pass makes of a row goes into
// the next one as it is; the last is weighted and added to what the row was before the recursion.
void RoutedSegment::run_token_choice(const Call& call) {
  const int64_t dim = plan_.dims.hidden_size;
  choose_depths(call);
  int64_t num_active = call.rows.count;
  std::copy(active_, active_ + num_active, kept_rows_);
  kernels::gather_rows_cpu({call.hidden, kept_rows_, routed_, num_active, dim},
                           running(EngineOp::kGatherRows));
  for (int32_t depth = 0; num_active > 0; ++depth) {
    run_layers(call, depth, routed_, kept_rows_, num_active);
    // Rows that end here: active_ are the rows of the call, kept_ their places in routed_.
    int64_t num_done = 0, num_left = 0;
    for (int64_t i = 0; i < num_active; ++i) {
      const int32_t row = kept_rows_[i];
      if (call.depths[row] > depth + 1) continue;
      active_[num_done] = row;
      kept_weights_[num_done] = call.scores[row];
      kept_[num_done++] = static_cast<int32_t>(i);
    }
    kernels::gather_rows_cpu({routed_, kept_, candidates_, num_done, dim}, running(EngineOp::kGatherRows));
    join(call, candidates_, active_, kept_weights_, num_done);
    for (int64_t i = 0; i < num_active; ++i) {
      const int32_t row = kept_rows_[i];
      if (call.depths[row] <= depth + 1) continue;
      kept_rows_[num_left] = row;
      kept_[num_left++] = static_cast<int32_t>(i);
    }
    kernels::gather_rows_cpu({routed_, kept_, candidates_, num_left, dim}, running(EngineOp::kGatherRows));
    std::swap(routed_, candidates_);
    num_active = num_left;
  }
  watch("routed", call.hidden, call.rows.count, dim);
}

void RoutedSegment::route(const Segment& segment, const ParamRef& weight, const ParamRef& hidden,
                          double temperature, int32_t depth, const float* x, int64_t rows, float* logits,
                          float* weights) {
  const RouterSpec& spec = segment.router->spec;
  int64_t dim = plan_.dims.hidden_size;
  if (hidden.present()) {
    const int64_t inner = spec.mlp_ratio * dim;
    kernels::linear_fwd_cpu({.x = x,
                             .weight = weights_.f32(hidden.at(depth)),
                             .weight_type = DType::kF32,
                             .y = router_hidden_,
                             .rows = rows,
                             .in = dim,
                             .out = inner,
                             .x_stride = dim,
                             .y_stride = inner,
                             .workspace = linear_workspace_},
                            running(EngineOp::kRouter));
    kernels::gelu_fwd_cpu({router_hidden_, router_hidden_, rows * inner, static_cast<float>(1 / temperature)},
                          running(EngineOp::kRouter));
    x = router_hidden_;
    dim = inner;
    temperature = 1;
  }
  kernels::router_fwd_cpu({.x = x,
                           .weight = weights_.f32(weight.at(depth)),
                           .logits = logits,
                           .weights = weights,
                           .rows = rows,
                           .dim = dim,
                           .outputs = spec.kind == RouterKind::kTokenChoice ? segment.repeat : 1,
                           .temperature = static_cast<float>(temperature),
                           .alpha = static_cast<float>(spec.alpha),
                           .score = score_of(spec)},
                          running(EngineOp::kRouter));
}

void RoutedSegment::draw(const Call& call, int32_t depth, int64_t num_active, int64_t outputs,
                         int64_t column) {
  for_each_sequence(call.rows, num_active, [&](const SequenceRows& sequence, RowRange candidates) {
    const std::span<const float> given = sequence.options->router_draws;
    // The last row of a sequence in a call never stays behind.
    const int64_t total = sequence.left_behind + sequence.rows.size();
    FATHOM_CHECK(
        given.empty() || static_cast<int64_t>(given.size()) == call.segment.repeat * total,
        "random scores: got " + std::to_string(given.size()) + ", expected one of each row and depth");
    for (int64_t i = candidates.begin; i < candidates.end; ++i) {
      const int32_t row = active_[i];
      const int64_t number = sequence.left_behind + row - sequence.rows.begin;
      const float drawn = given.empty() ? uniform(kDrawSeed, static_cast<uint64_t>(depth),
                                                  static_cast<uint64_t>(call.rows.positions[row]))
                                        : given[static_cast<size_t>(depth * total + number)];
      const int64_t at = i * outputs + column;
      logits_[at] = static_cast<float>(std::log(double{drawn} / (1.0 - double{drawn})));
      weights_of_rows_[at] = static_cast<float>(call.spec.alpha) * drawn;
    }
  });
}

int32_t RoutedSegment::replayed_depth(const SequenceRows& sequence, int64_t row) {
  return sequence.options
      ->replay_depths[static_cast<size_t>(sequence.left_behind + row - sequence.rows.begin)];
}

int64_t RoutedSegment::choose(const Call& call, int32_t depth, int64_t num_active) {
  const auto d = static_cast<size_t>(depth);
  const float* const logits = call.segment.router->aux_weight.present() ? aux_logits_ : logits_;
  int64_t count = 0;
  for_each_sequence(call.rows, num_active, [&](const SequenceRows& sequence, RowRange candidates) {
    const ForwardOptions& options = *sequence.options;
    if (options.routing == RoutingMode::kTopK) {
      const int64_t keep =
          kernels::router_capacity(call.spec.capacity[d], sequence.rows.size(), candidates.size());
      kernels::router_top_k_cpu({.weights = weights_of_rows_,
                                 .logits = logits_,
                                 .sequences = &candidates,
                                 .keep = &keep,
                                 .num_sequences = 1,
                                 .kept = kept_ + count,
                                 .workspace = top_k_workspace_},
                                running(EngineOp::kRouter));
      count += keep;
      return;
    }
    const float threshold = static_cast<float>(call.spec.threshold[d]) + options.depth_shift;
    for (int64_t i = candidates.begin; i < candidates.end; ++i) {
      const bool goes_on = options.routing == RoutingMode::kReplay
                               ? replayed_depth(sequence, active_[i]) > depth
                               : depth == 0 || logits[i] >= threshold;
      if (goes_on) kept_[count++] = static_cast<int32_t>(i);
    }
  });
  return count;
}

int64_t RoutedSegment::drop_capped(const Call& call, int32_t depth, int64_t num_active) {
  int64_t count = 0;
  for_each_sequence(call.rows, num_active, [&](const SequenceRows& sequence, RowRange candidates) {
    if (most_passes(call.segment, sequence) <= depth) return;
    for (int64_t i = candidates.begin; i < candidates.end; ++i) active_[count++] = active_[i];
  });
  return count;
}

void RoutedSegment::choose_depths(const Call& call) {
  const Router& router = *call.segment.router;
  const int64_t rows = call.rows.count, outputs = call.segment.repeat;
  if (call.spec.random) {
    for (int32_t depth = 0; depth < outputs; ++depth) draw(call, depth, rows, outputs, depth);
  } else {
    route(call.segment, router.weight, router.hidden, call.spec.temperature, 0, call.hidden, rows, logits_,
          weights_of_rows_);
  }
  std::vector<float> deciding;  // with biases, for those who watch
  for (const SequenceRows& sequence : call.rows.sequences) {
    for (int64_t i = 0; i < outputs; ++i) {
      biases_[i] = router.bias.present() ? weights_.f32(router.bias.at(0))[i] : 0.0F;
      biases_[i] -= sequence.options->depth_shift * static_cast<float>(i);
    }
    const RowRange own = sequence.rows;
    kernels::router_choose_ref(
        {weights_of_rows_ + own.begin * outputs, biases_, chosen_ + own.begin, own.size(), outputs});
    for (int64_t r = own.begin; r < own.end; ++r) {
      if (sequence.options->routing == RoutingMode::kReplay) chosen_[r] = replayed_depth(sequence, r) - 1;
      // A row that is stopped early leaves as one that chose to.
      chosen_[r] = std::clamp(chosen_[r], 0, most_passes(call.segment, sequence) - 1);
      call.depths[r] = static_cast<uint8_t>(chosen_[r] + 1);
      call.scores[r] = weights_of_rows_[r * outputs + chosen_[r]];
    }
    for (int64_t at = own.begin * outputs; watched() && at < own.end * outputs; ++at)
      deciding.push_back(weights_of_rows_[at] + biases_[at % outputs]);
  }
  if (!watched()) return;
  watch("router.logits", logits_, rows, outputs);
  watch("router.weights", weights_of_rows_, rows, outputs);
  watch("router.scores_for_argmax", deciding.data(), rows, outputs);
  const std::vector<float> numbers(chosen_, chosen_ + rows);
  watch("router.depth_index", numbers.data(), rows, 1);
}

void RoutedSegment::run_layers(const Call& call, int32_t depth, float* x, const int32_t* active,
                               int64_t count) {
  picked_.take_picked(call.rows, active, count);
  const Rows rows = picked_.rows();
  for (const Layer& layer : call.segment.layers) layers_.run(call.segment, layer, depth, x, rows, rows);
}

void RoutedSegment::join(const Call& call, const float* from, const int32_t* rows, const float* weights,
                         int64_t count) {
  kernels::scatter_add_rows_cpu({.x = from,
                                 .index = rows,
                                 .weights = call.segment.combine == Combine::kWeighted ? weights : nullptr,
                                 .y = call.hidden,
                                 .rows = count,
                                 .dim = plan_.dims.hidden_size},
                                running(EngineOp::kScatterAddRows));
}

void RoutedSegment::watch(const char* name, const float* data, int64_t rows, int64_t columns) const {
  if (watched()) (*trace_)(name, data, rows, columns);
}

void RoutedSegment::watch_choice(const Call& call, int32_t depth, int64_t num_active,
                                 int64_t num_kept) const {
  if (!watched()) return;
  const std::string name = "router." + std::to_string(depth);
  watch((name + ".logits").c_str(), logits_, num_active, 1);
  if (call.segment.router->aux_weight.present())
    watch((name + ".aux_logits").c_str(), aux_logits_, num_active, 1);
  watch((name + ".weights").c_str(), weights_of_rows_, num_active, 1);
  std::vector<float> numbers(active_, active_ + num_active);
  watch((name + ".candidates").c_str(), numbers.data(), num_active, 1);
  for (int64_t i = 0; i < num_kept; ++i)
    numbers[static_cast<size_t>(i)] = static_cast<float>(active_[kept_[i]]);
  watch((name + ".kept").c_str(), numbers.data(), num_kept, 1);
}

}  // namespace fathom
