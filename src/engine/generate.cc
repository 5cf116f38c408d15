#include "engine/generate.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/clock.h"
#include "engine/ngram_draft.h"

namespace fathom {

Generator::Generator(Executor& executor, const ModelPlan& plan, int64_t max_rows)
    : executor_(executor),
      plan_(plan),
      max_rows_(max_rows),
      sampling_workspace_(kernels::sampling_workspace(plan.dims.vocab_size)) {}

ForwardResult Generator::feed(SequenceState& state, std::span<const int32_t> tokens,
                              const GenerateRequest& request, int64_t logit_rows, GenerateResult& result) {
  ForwardOptions options;
  options.logits = logit_rows > 0 ? Logits::kLast : Logits::kNone;
  options.last_rows = logit_rows;
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

// All tokens so far, and the guesses of the last call.
struct Generator::Text {
  std::vector<int32_t> tokens;  // those behind which the state stood at the start
  int64_t start = 0;            // where that was
  std::vector<int32_t> guesses;
  int64_t accepted = 0;  // guesses that were drawn
  // A state that is alone has no room but for itself.
  StateMark mark{std::make_shared<StateMemory>(std::numeric_limits<int64_t>::max())};
  DraftLength length{0};

  int64_t position() const { return start + static_cast<int64_t>(tokens.size()); }
  // What the state has not read.
  std::span<const int32_t> unread(const SequenceState& state) const {
    return std::span(tokens).subspan(static_cast<size_t>(state.position() - start));
  }
};

// False: cancelled.
bool Generator::feed_prompt(SequenceState& state, const GenerateRequest& request, ForwardResult& forward,
                            GenerateResult& result) {
  for (size_t at = 0; at < request.prompt.size();) {
    const size_t rows = std::min(static_cast<size_t>(max_rows_), request.prompt.size() - at);
    const bool last = at + rows == request.prompt.size();
    forward = feed(state, request.prompt.subspan(at, rows), request, last ? 1 : 0, result);
    at += rows;
    if (request.cancelled != nullptr && request.cancelled->load()) return false;
  }
  return true;
}

// Reads what is unread, and guesses of what comes then; logits of the last unread token and of each guess.
ForwardResult Generator::read_on(SequenceState& state, const GenerateRequest& request, Text& text,
                                 GenerateResult& result) {
  text.guesses.clear();
  text.accepted = 0;
  const auto unread = static_cast<int64_t>(text.unread(state).size());
  const int64_t to_draw = request.max_tokens - static_cast<int64_t>(result.tokens.size());
  const int64_t most = request.draft_tokens == 0
                           ? 0
                           : std::min({text.length.next(), to_draw - 1, max_rows_ - unread,
                                       state.context() - state.first_position() - state.position() - unread});
  if (most <= 0) return feed(state, text.unread(state), request, 1, result);
  const size_t before = text.tokens.size();
  const int64_t count = append_ngram_draft(text.tokens, most);
  if (count > 0) FATHOM_CHECK(state.mark(text.mark), "no memory for a mark");
  const ForwardResult forward = feed(state, text.unread(state), request, 1 + count, result);
  text.guesses.assign(text.tokens.begin() + static_cast<int64_t>(before), text.tokens.end());
  text.tokens.resize(before);
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

  const double start = clock.seconds();
  ForwardResult forward;
  const bool whole = feed_prompt(state, request, forward, result);
  const double prefilled = clock.seconds();
  result.prefill_seconds = prefilled - start;
  if (!whole) {
    result.finish = FinishReason::kCancelled;
    return result;
  }

  const auto is_cancelled = [&] { return request.cancelled != nullptr && request.cancelled->load(); };
  Text text;
  text.start = state.position() - static_cast<int64_t>(request.prompt.size());
  text.tokens.reserve(total + static_cast<size_t>(request.draft_tokens));
  text.tokens.assign(request.prompt.begin(), request.prompt.end());
  text.length = DraftLength(request.draft_tokens);
  // The state has read guesses that were not drawn: it goes back.
  const auto settle = [&] {
    if (text.guesses.empty()) return;
    const auto drafted = static_cast<int64_t>(text.guesses.size());
    state.go_back(text.mark, state.position() - drafted + text.accepted);
    text.length.note(drafted, text.accepted);
    result.drafted += drafted;
    result.accepted += text.accepted;
    text.guesses.clear();
    // Of what the state no longer has; what is read again is told again.
    const auto kept = static_cast<size_t>(state.position() - text.start);
    result.depths.resize(std::min(result.depths.size(), kept));
    result.scores.resize(std::min(result.scores.size(), kept));
  };
  while (static_cast<int64_t>(result.tokens.size()) < request.max_tokens) {
    const Result<kernels::Sampled> drawn =
        kernels::sample_cpu({.logits = forward.logits + text.accepted * plan_.dims.vocab_size,
                             .vocab = plan_.dims.vocab_size,
                             .params = request.sampling,
                             .position = static_cast<uint64_t>(text.position()),
                             .workspace = sampling_workspace_.as()},
                            executor_.pool());
    if (!drawn.ok()) {
      return at(
          "after " + std::to_string(text.position()) + " tokens",
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
      if (text.position() == state.context()) break;
      text.tokens.push_back(drawn->token);
      if (text.accepted < static_cast<int64_t>(text.guesses.size()) &&
          text.guesses[static_cast<size_t>(text.accepted)] == drawn->token) {
        ++text.accepted;
      } else {
        settle();
        forward = read_on(state, request, text, result);
      }
    }
    if (!go_on) {
      result.finish = FinishReason::kCancelled;
      break;
    }
  }
  // Whoever goes on from the state finds all that was drawn but the last token.
  settle();
  if (!text.unread(state).empty()) feed(state, text.unread(state), request, 0, result);
  result.decode_seconds = clock.seconds() - prefilled;
  return result;
}

}  // namespace fathom
