#include "engine/generate.h"

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"

namespace fathom {

Generator::Generator(Executor& executor, const ModelPlan& plan, int64_t max_rows)
    : executor_(executor),
      plan_(plan),
      max_rows_(max_rows),
      sampling_workspace_(kernels::sampling_workspace(plan.dims.vocab_size)) {}

ForwardResult Generator::feed(SequenceState& state, std::span<const int32_t> tokens,
                              const GenerateRequest& request, Logits logits, GenerateResult& result) {
  ForwardOptions options;
  options.logits = logits;
  options.max_depth = request.max_depth;
  options.routing = request.routing;
  if (request.routing == RoutingMode::kReplay)
    options.replay_depths = request.replay_depths.subspan(result.depths.size(), tokens.size());
  DepthController* const controller = request.controller;
  if (controller != nullptr) options.depth_shift = controller->shift();
  SteadyClock clock;
  const double start = controller != nullptr ? clock.seconds() : 0;
  ForwardResult forward = executor_.forward(state, tokens, options);
  if (controller != nullptr) controller->note(forward.depths, clock.seconds() - start);
  result.depths.insert(result.depths.end(), forward.depths.begin(), forward.depths.end());
  result.scores.insert(result.scores.end(), forward.scores.begin(), forward.scores.end());
  return forward;
}

Result<GenerateResult> Generator::run(SequenceState& state, const GenerateRequest& request,
                                      const std::function<bool(const GeneratedToken&)>& on_token) {
  FATHOM_CHECK(!request.prompt.empty(), "an empty prompt");
  SteadyClock clock;
  GenerateResult result;
  // Room for everything, so that decoding does not allocate.
  const auto total = request.prompt.size() + static_cast<size_t>(std::max<int64_t>(0, request.max_tokens));
  result.tokens.reserve(static_cast<size_t>(std::max<int64_t>(0, request.max_tokens)));
  result.depths.reserve(total);
  result.scores.reserve(total);

  const auto is_cancelled = [&] { return request.cancelled != nullptr && request.cancelled->load(); };
  const double start = clock.seconds();
  ForwardResult forward;
  for (size_t at = 0; at < request.prompt.size();) {
    const size_t rows = std::min(static_cast<size_t>(max_rows_), request.prompt.size() - at);
    const bool last = at + rows == request.prompt.size();
    forward =
        feed(state, request.prompt.subspan(at, rows), request, last ? Logits::kLast : Logits::kNone, result);
    at += rows;
    if (is_cancelled()) {
      result.finish = FinishReason::kCancelled;
      result.prefill_seconds = clock.seconds() - start;
      return result;
    }
  }
  const double prefilled = clock.seconds();
  result.prefill_seconds = prefilled - start;

  while (static_cast<int64_t>(result.tokens.size()) < request.max_tokens) {
    const Result<kernels::Sampled> drawn =
        kernels::sample_cpu({.logits = forward.logits,
                             .vocab = plan_.dims.vocab_size,
                             .params = request.sampling,
                             .position = static_cast<uint64_t>(state.position()),
                             .workspace = sampling_workspace_.as()},
                            executor_.pool());
    if (!drawn.ok()) {
      return at(
          "after " + std::to_string(state.position()) + " tokens",
          invalid(drawn.error().message + "; --check-tensors of fathom generate finds weights that are"));
    }
    if (std::find(request.stop_tokens.begin(), request.stop_tokens.end(), drawn->token) !=
        request.stop_tokens.end()) {
      result.finish = FinishReason::kStop;
      break;
    }
    result.tokens.push_back({drawn->token, drawn->log_probability});
    const bool go_on = on_token(result.tokens.back()) && !is_cancelled();
    const bool last = static_cast<int64_t>(result.tokens.size()) == request.max_tokens;
    if ((go_on && !last) || request.want_depths) {
      if (state.position() == state.context()) break;
      forward = feed(state, {&result.tokens.back().token, 1}, request, Logits::kLast, result);
    }
    if (!go_on) {
      result.finish = FinishReason::kCancelled;
      break;
    }
  }
  result.decode_seconds = clock.seconds() - prefilled;
  return result;
}

}  // namespace fathom
