#include "eval/scorer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace fathom::eval {

namespace {

// A state is kept for later calls when it saves at least this many rows.
constexpr int64_t kWorthKeeping = 16;

size_t common_length(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t most = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(most), b.begin()).first - a.begin());
}

std::span<const int32_t> inputs_of(const Request& request) {
  return std::span(request.tokens).first(static_cast<size_t>(request.inputs));
}

// The longest prefix that all requests feed before the first row that predicts a target.
std::span<const int32_t> common_prefix(std::span<const Request> requests) {
  size_t length = requests[0].tokens.size();
  for (const Request& request : requests) {
    length = std::min({length, common_length(inputs_of(requests[0]), inputs_of(request)),
                       static_cast<size_t>(request.first_target - 1)});
  }
  return std::span(requests[0].tokens).first(length);
}

// The softmax of one row of logits.
struct RowVerdict {
  double log_sum = 0;  // of exponentials
  int32_t most_probable = 0;
};

RowVerdict judge(const float* logits, int64_t vocab_size) {
  const float* most = std::max_element(logits, logits + vocab_size);
  double sum = 0;
  for (int64_t i = 0; i < vocab_size; ++i) sum += std::exp(logits[i] - *most);
  return {static_cast<double>(*most) + std::log(sum), static_cast<int32_t>(most - logits)};
}

}  // namespace

Scorer::Scorer(const ModelPlan& plan, const Weights& weights, const ScorerSettings& settings,
               Parallel& parallel)
    : vocab_size_(plan.dims.vocab_size),
      settings_(settings),
      parallel_(parallel),
      max_rows_(settings.routing == RoutingMode::kTopK ? settings.max_inputs
                                                       : std::min(settings.chunk, settings.max_inputs)),
      executor_(plan, weights, max_rows_, settings.max_inputs, parallel, settings.numerics),
      trunk_(executor_.make_state(settings.kv_type)) {
  FATHOM_CHECK(settings.routing != RoutingMode::kReplay, "depths to replay in an evaluation");
  if (settings.routing == RoutingMode::kTopK) return;
  branch_.emplace(executor_.make_state(settings.kv_type));
  kept_.emplace(executor_.make_state(settings.kv_type));
}

std::vector<Score> Scorer::score(std::span<const Request> requests) {
  std::vector<Score> scores(requests.size());
  if (requests.empty()) return scores;
  const std::vector<Batch> batches = batches_of(requests, scores);
  const bool shares = settings_.routing != RoutingMode::kTopK;
  if (shares) go_to_common_prefix(common_prefix(requests));
  for (const Batch& batch : batches) {
    if (!shares) {
      trunk_.reset();
    } else if (&batch != &batches.back()) {
      branch_->copy_from(trunk_);
    }
    // Nobody needs the trunk behind the last batch.
    feed_and_score(shares && &batch != &batches.back() ? *branch_ : trunk_, batch);
  }
  return scores;
}

void Scorer::set_depth_shift(float shift) {
  depth_shift_ = shift;
  // What was kept was decided otherwise.
  kept_tokens_.clear();
  last_common_.clear();
}

std::vector<Scorer::Batch> Scorer::batches_of(std::span<const Request> requests, std::span<Score> scores) {
  std::vector<Batch> batches;
  for (size_t i = 0; i < requests.size(); ++i) {
    auto found = std::ranges::find_if(batches, [&](const Batch& batch) {
      return std::ranges::equal(inputs_of(*batch.requests.front()), inputs_of(requests[i]));
    });
    if (found == batches.end()) found = batches.insert(batches.end(), Batch{});
    found->requests.push_back(&requests[i]);
    found->scores.push_back(&scores[i]);
  }
  return batches;
}

void Scorer::go_to_common_prefix(std::span<const int32_t> common) {
  const auto kept = static_cast<int64_t>(kept_tokens_.size());
  if (kept > 0 && common_length(common, kept_tokens_) == kept_tokens_.size()) {
    trunk_.copy_from(*kept_);
  } else {
    trunk_.reset();
    kept_tokens_.clear();
  }
  const auto repeated = static_cast<int64_t>(common_length(common, last_common_));
  if (repeated >= trunk_.position() + kWorthKeeping) {
    feed(trunk_, common, repeated);
    kept_->copy_from(trunk_);
    kept_tokens_.assign(common.begin(), common.begin() + repeated);
  }
  feed(trunk_, common, static_cast<int64_t>(common.size()));
  last_common_.assign(common.begin(), common.end());
}

void Scorer::feed(SequenceState& state, std::span<const int32_t> tokens, int64_t end) {
  while (state.position() < end) {
    const int64_t rows = std::min(max_rows_, end - state.position());
    forward(state, tokens.subspan(static_cast<size_t>(state.position()), static_cast<size_t>(rows)),
            Logits::kNone);
  }
}

void Scorer::feed_and_score(SequenceState& state, const Batch& batch) {
  const std::span<const int32_t> inputs = inputs_of(*batch.requests.front());
  while (state.position() < static_cast<int64_t>(inputs.size())) {
    const int64_t begin = state.position();
    const int64_t rows = std::min(max_rows_, static_cast<int64_t>(inputs.size()) - begin);
    const ForwardResult result =
        forward(state, inputs.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows)), Logits::kAll);
    add_scores(result.logits, begin, rows, batch);
  }
}

ForwardResult Scorer::forward(SequenceState& state, std::span<const int32_t> rows, Logits logits) {
  ForwardOptions options;
  options.routing = settings_.routing;
  options.logits = logits;
  options.depth_shift = depth_shift_;
  const int64_t begin = state.position();
  const ForwardResult result = executor_.forward(state, rows, options);
  const auto count = static_cast<int64_t>(rows.size());
  spent_.add(begin, count, logits == Logits::kAll, result.depths);
  if (depth_watcher_) depth_watcher_(result.depths);
  return result;
}

void Scorer::add_scores(const float* logits, int64_t first_row, int64_t rows, const Batch& batch) {
  int64_t first_target = INT64_MAX;
  for (const Request* request : batch.requests) first_target = std::min(first_target, request->first_target);
  const int64_t skipped = std::max<int64_t>(0, first_target - 1 - first_row);
  std::vector<RowVerdict> verdicts(static_cast<size_t>(rows));
  parallel_.run(rows - skipped, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = skipped + begin; r < skipped + end; ++r)
      verdicts[static_cast<size_t>(r)] = judge(logits + r * vocab_size_, vocab_size_);
  });
  for (size_t i = 0; i < batch.requests.size(); ++i) {
    const Request& request = *batch.requests[i];
    Score& score = *batch.scores[i];
    for (int64_t r = skipped; r < rows; ++r) {
      const int64_t at = first_row + r + 1;
      if (at < request.first_target || at >= static_cast<int64_t>(request.tokens.size())) continue;
      const int32_t target = request.tokens[static_cast<size_t>(at)];
      const RowVerdict& verdict = verdicts[static_cast<size_t>(r)];
      const double log_likelihood = static_cast<double>(logits[r * vocab_size_ + target]) - verdict.log_sum;
      score.log_likelihood += log_likelihood;
      if (settings_.each_target) score.of_targets.push_back(log_likelihood);
      score.greedy = score.greedy && verdict.most_probable == target;
    }
  }
}

int64_t Scorer::state_bytes() const { return trunk_.bytes() * (branch_ ? 3 : 1); }

int64_t Scorer::scratch_bytes() const { return executor_.scratch_bytes(); }

}  // namespace fathom::eval
