#include "train/router_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/random.h"
#include "kernels/router/router.h"
#include "plan/capacity.h"

namespace fathom::train {

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
      return kernels::RouterScore::kSoftmax;
  }
  return kernels::RouterScore::kSigmoid;
}

void add(Tensor& sum, const Tensor& loss) { sum = sum.defined() ? sum + loss : loss; }

Tensor picked(const Tensor& values, const std::vector<int32_t>& index) {
  return gather_rows(values.view({-1, 1}), index).view({-1});
}

// Share of the candidates for which "the score is at least one half" (tanh: zero) says what was decided.
double accuracy_of(const RouterSpec& spec, const Tensor& logits, const std::vector<int32_t>& kept) {
  // Score at least one half is a logit of at least zero in every case but the bare logit.
  const float at_least =
      spec.score == ScoreFunction::kNone && spec.loss != RouterLoss::kAuxRouter ? 0.5F : 0.0F;
  const float* const values = logits.const_data_ptr<float>();
  const auto count = static_cast<size_t>(logits.numel());
  size_t next = 0, right = 0;
  for (size_t i = 0; i < count; ++i) {
    const bool was_kept = next < kept.size() && kept[next] == static_cast<int32_t>(i);
    next += was_kept ? 1 : 0;
    right += (values[i] >= at_least) == was_kept ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(count);
}

// Share of `kept` that is in `other`; both ascend.
double overlap_of(const std::vector<int32_t>& kept, const std::vector<int32_t>& other) {
  std::vector<int32_t> both;
  std::ranges::set_intersection(kept, other, std::back_inserter(both));
  return kept.empty() ? 1.0 : static_cast<double>(both.size()) / static_cast<double>(kept.size());
}

// Entropy of the mean over rows of scores [rows, depths], normalised to a distribution.
double entropy_of(const Tensor& scores, int32_t depths) {
  const float* const values = scores.const_data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>(depths));
  double total = 0, entropy = 0;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    sums[static_cast<size_t>(i % depths)] += values[i];
    total += values[i];
  }
  for (double sum : sums) entropy -= sum > 0 ? sum / total * std::log(sum / total) : 0;
  return entropy;
}

}  // namespace

Tensor RouterPass::run(const Segment& segment, const Tensor& hidden, const Rows& everything) {
  return segment.router->spec.kind == RouterKind::kExpertChoice
             ? run_expert_choice(segment, hidden, everything)
             : run_token_choice(segment, hidden, everything);
}

// Section 3.3.
Tensor RouterPass::run_expert_choice(const Segment& segment, Tensor hidden, const Rows& everything) {
  const Router& router = *segment.router;
  const RouterSpec& spec = router.spec;
  Candidates candidates{std::vector<int32_t>(static_cast<size_t>(everything.count())), everything};
  for (size_t r = 0; r < candidates.active.size(); ++r) candidates.active[r] = static_cast<int32_t>(r);
  for (int32_t depth = 0; depth < segment.repeat && !candidates.active.empty(); ++depth) {
    const bool whole = candidates.rows.count() == everything.count();
    const Tensor x = whole ? hidden : gather_rows(hidden, candidates.active);
    const RouterScores scores =
        spec.random ? drawn_scores(segment, depth, 1, candidates.active, everything)
                    : scores_of(segment, router.weight, router.hidden, spec.temperature, depth, x);
    // The second router reads the residual stream as it is, whatever the temperature of the first, and
    // teaches nobody but itself (3.4).
    const bool aux = router.aux_weight.present();
    const Tensor deciding =
        aux ? scores_of(segment, router.aux_weight, router.aux_hidden, 1.0, depth, x.detach()).logits
            : scores.logits;
    const std::vector<int32_t> kept = choose(spec, depth, candidates, everything, scores, deciding);
    RoutedPass pass;
    pass.candidates = candidates.active;
    for (int32_t i : kept) pass.kept.push_back(candidates.active[static_cast<size_t>(i)]);
    if (aux) {
      const Tensor logits = deciding.detach();
      pass.aux_logits = logits;
      pass.overlap = overlap_of(kept, top_k(spec, depth, candidates, everything, {logits, logits}));
    }
    const std::vector<int32_t> kept_rows = pass.kept;
    note_pass(spec, std::move(pass), scores, deciding, kept);
    if (kept.empty()) break;
    const bool all_kept = static_cast<int64_t>(kept.size()) == candidates.rows.count();
    // The first pass writes keys of all rows where later ones read them; those not kept leave nothing else.
    const bool all_run = all_kept || (depth == 0 && segment.kv != KvMode::kRecursionWise);
    // A node of its own: gradients of what the layers read are added up here, then to those of other
    // readers.
    Tensor y = all_run ? x.view_as(x) : gather_rows(x, kept);
    Rows rows = subset(candidates.rows, kept);
    y = run_layers_(segment, depth, y, all_run ? candidates.rows : rows);
    if (all_run && !all_kept) y = gather_rows(y, kept);
    Tensor weights;
    if (segment.combine == Combine::kWeighted)
      weights = all_kept ? scores.weights.view({-1}) : picked(scores.weights, kept);
    hidden = scatter_add_rows(hidden, y, kept_rows, weights);
    watch("pass." + std::to_string(depth), hidden);
    candidates = {kept_rows, std::move(rows)};
  }
  return hidden;
}

// Section 4.
Tensor RouterPass::run_token_choice(const Segment& segment, const Tensor& hidden, const Rows& everything) {
  const Router& router = *segment.router;
  std::vector<int32_t> active(static_cast<size_t>(everything.count()));
  for (size_t r = 0; r < active.size(); ++r) active[r] = static_cast<int32_t>(r);
  const RouterScores scores =
      router.spec.random
          ? drawn_scores(segment, 0, segment.repeat, active, everything)
          : scores_of(segment, router.weight, router.hidden, router.spec.temperature, 0, hidden);
  const std::vector<int32_t> chosen = choose_depths(segment, scores.weights);
  Tensor sum = hidden, x = hidden.view_as(hidden);
  Rows rows = everything;
  for (int32_t depth = 0; !active.empty(); ++depth) {
    RoutedPass pass;
    pass.candidates = depth == 0 ? active : result_.passes.back().kept;
    pass.kept = active;
    result_.passes.push_back(std::move(pass));
    const Tensor y = run_layers_(segment, depth, x, rows);
    std::vector<int32_t> done, done_rows, left, left_rows, places;
    for (size_t i = 0; i < active.size(); ++i) {
      const int32_t row = active[i];
      const bool last = chosen[static_cast<size_t>(row)] == depth;
      (last ? done : left).push_back(static_cast<int32_t>(i));
      (last ? done_rows : left_rows).push_back(row);
      if (last) places.push_back(row * segment.repeat + depth);
    }
    if (!done.empty()) {
      const Tensor weights =
          segment.combine == Combine::kWeighted ? picked(scores.weights, places) : Tensor();
      sum = scatter_add_rows(sum, left.empty() && depth == 0 ? y : gather_rows(y, done), done_rows, weights);
    }
    if (left.empty()) break;
    x = gather_rows(y, left);
    rows = subset(rows, left);
    active = std::move(left_rows);
  }
  watch("routed", sum);
  note_choice(segment, scores, chosen);
  return sum;
}

RouterScores RouterPass::scores_of(const Segment& segment, const ParamRef& weight, const ParamRef& hidden,
                                   double temperature, int32_t depth, const Tensor& x) const {
  const RouterSpec& spec = segment.router->spec;
  const Tensor last = parameters_.at(weight, depth);
  if (!hidden.present()) return router_scores(x, last, temperature, spec.alpha, score_of(spec));
  const Tensor inner =
      gelu(linear(x, {parameters_.at(hidden, depth), {}}, Precision::kF32DoubleSums), 1.0 / temperature);
  return router_scores(inner, last, 1.0, spec.alpha, score_of(spec));
}

RouterScores RouterPass::drawn_scores(const Segment& segment, int32_t first, int32_t depths,
                                      const std::vector<int32_t>& of_rows, const Rows& everything) const {
  const int64_t rows = everything.count();
  FATHOM_CHECK(options_.router_draws.empty() ||
                   static_cast<int64_t>(options_.router_draws.size()) == segment.repeat * rows,
               "random scores: got " + std::to_string(options_.router_draws.size()) +
                   ", expected one of each row and depth");
  const auto drawn_for = [&](int32_t depth, int32_t row) {
    if (!options_.router_draws.empty()) return options_.router_draws[static_cast<size_t>(depth * rows + row)];
    if (options_.draw_call == 0) {  // as the engine does
      return uniform(0, static_cast<uint64_t>(depth),
                     static_cast<uint64_t>((*everything.positions)[static_cast<size_t>(row)]));
    }
    const uint64_t stream = options_.draw_call * static_cast<uint64_t>(segment.repeat);
    return uniform(options_.draw_seed, stream + static_cast<uint64_t>(depth), static_cast<uint64_t>(row));
  };
  const auto count = static_cast<int64_t>(of_rows.size());
  Tensor logits = at::empty({count, depths}, at::kFloat), weights = at::empty({count, depths}, at::kFloat);
  auto *logit = logits.mutable_data_ptr<float>(), *weight = weights.mutable_data_ptr<float>();
  for (int32_t row : of_rows) {
    for (int32_t depth = first; depth < first + depths; ++depth) {
      const float drawn = drawn_for(depth, row);
      *logit++ = static_cast<float>(std::log(double{drawn} / (1.0 - double{drawn})));
      *weight++ = static_cast<float>(segment.router->spec.alpha) * drawn;
    }
  }
  return {logits, weights};
}

std::vector<int32_t> RouterPass::choose(const RouterSpec& spec, int32_t depth, const Candidates& candidates,
                                        const Rows& everything, const RouterScores& scores,
                                        const Tensor& deciding) const {
  if (options_.routing == Routing::kTopK) return top_k(spec, depth, candidates, everything, scores);
  const float* const logits = deciding.const_data_ptr<float>();
  const auto threshold = static_cast<float>(spec.threshold[static_cast<size_t>(depth)]);
  std::vector<int32_t> kept;
  for (size_t i = 0; i < candidates.active.size(); ++i) {
    const bool goes_on = options_.routing == Routing::kReplay
                             ? options_.replay_depths[static_cast<size_t>(candidates.active[i])] > depth
                             : depth == 0 || logits[i] >= threshold;
    if (goes_on) kept.push_back(static_cast<int32_t>(i));
  }
  return kept;
}

std::vector<int32_t> RouterPass::top_k(const RouterSpec& spec, int32_t depth, const Candidates& candidates,
                                       const Rows& everything, const RouterScores& scores) const {
  std::vector<int64_t> keep;
  int64_t total = 0, longest = 0;
  const double capacity =
      warmed_capacity(drawn_capacity(spec, depth, options_.capacity_draw), options_.capacity_warmup);
  for (size_t s = 0; s < candidates.rows.sequences.size(); ++s) {
    const int64_t here = candidates.rows.sequences[s].size();
    keep.push_back(here == 0 ? 0 : kernels::router_capacity(capacity, everything.sequences[s].size(), here));
    total += keep.back();
    longest = std::max(longest, here);
  }
  std::vector<int32_t> kept(static_cast<size_t>(total)), workspace(static_cast<size_t>(longest));
  SerialParallel serial;
  kernels::router_top_k_cpu({.weights = scores.weights.const_data_ptr<float>(),
                             .logits = scores.logits.const_data_ptr<float>(),
                             .sequences = candidates.rows.sequences.data(),
                             .keep = keep.data(),
                             .num_sequences = static_cast<int64_t>(keep.size()),
                             .kept = kept.data(),
                             .workspace = workspace.data()},
                            serial);
  return kept;
}

std::vector<int32_t> RouterPass::choose_depths(const Segment& segment, const Tensor& weights) const {
  const auto rows = static_cast<size_t>(weights.size(0));
  std::vector<int32_t> chosen(rows, segment.repeat - 1);
  if (options_.routing == Routing::kReplay) {
    for (size_t r = 0; r < rows; ++r)
      chosen[r] = std::clamp<int32_t>(options_.replay_depths[r] - 1, 0, segment.repeat - 1);
  } else if (!options_.force_deepest) {
    const Tensor bias = parameters_.at(segment.router->bias, 0);
    kernels::router_choose_ref({weights.const_data_ptr<float>(),
                                bias.defined() ? bias.const_data_ptr<float>() : nullptr, chosen.data(),
                                static_cast<int64_t>(rows), segment.repeat});
  }
  return chosen;
}

void RouterPass::note_pass(const RouterSpec& spec, RoutedPass pass, const RouterScores& scores,
                           const Tensor& deciding, const std::vector<int32_t>& kept) {
  pass.logits = scores.logits.detach();
  pass.weights = scores.weights.detach();
  pass.accuracy = accuracy_of(spec, deciding, kept);
  if (!spec.random) {
    const Tensor bce = router_bce(deciding, kept);
    pass.bce = bce.item<float>();
    result_.sampling_loss += pass.bce;
    if (spec.loss == RouterLoss::kAuxRouter) {
      add(aux_loss_, bce);
    } else {
      add(loss_, bce * (spec.loss_coefficient / (spec.loss_per_step ? options_.accumulation : 1.0)));
    }
  }
  if (spec.z_coefficient > 0) {
    // A random router has no logits: the published code squares the numbers drawn, which adds a constant.
    const Tensor z = spec.random ? scores.weights / spec.alpha : scores.logits;
    const Tensor squares = (z * z).mean() / options_.accumulation;
    pass.z_loss = squares.item<float>();
    result_.z_loss += pass.z_loss;
    add(loss_, squares * spec.z_coefficient);
  }
  result_.passes.push_back(std::move(pass));
}

void RouterPass::note_choice(const Segment& segment, const RouterScores& scores,
                             std::vector<int32_t> chosen) {
  const RouterSpec& spec = segment.router->spec;
  TokenChoice choice;
  std::vector<int64_t> counts(static_cast<size_t>(segment.repeat));
  for (int32_t depth : chosen) ++counts[static_cast<size_t>(depth)];
  for (int64_t count : counts)
    choice.load.push_back(static_cast<float>(count) / static_cast<float>(chosen.size()));
  choice.violation = segment.repeat * double{std::ranges::max(choice.load)} - 1;
  choice.entropy = entropy_of(scores.weights, segment.repeat);
  choice.logits = scores.logits.detach();
  choice.weights = scores.weights.detach();
  choice.chosen = std::move(chosen);
  if (spec.loss == RouterLoss::kBalancing) {
    std::vector<float> shares;
    for (float load : choice.load) shares.push_back(static_cast<float>(segment.repeat) * load);
    const Tensor loss = (scores.weights.mean(0) * at::tensor(shares)).sum() / options_.accumulation;
    choice.balancing_loss = loss.item<float>();
    add(loss_, loss * spec.loss_coefficient);
  }
  if (spec.z_coefficient > 0 && !spec.random) {
    const Tensor total = at::logsumexp(scores.logits, {1});
    const Tensor squares = (total * total).mean() / options_.accumulation;
    result_.z_loss += squares.item<float>();
    add(loss_, squares * spec.z_coefficient);
  }
  result_.choice = std::move(choice);
}

}  // namespace fathom::train
