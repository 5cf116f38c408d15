#include "eval/written.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "eval/answers.h"

namespace fathom::eval {

namespace {

uint64_t seed_of(uint64_t seed, int64_t item, int64_t sample) {
  const auto words = philox(seed, static_cast<uint64_t>(item), static_cast<uint64_t>(sample));
  return uint64_t{words[0]} << 32 | words[1];
}

}  // namespace

Writer::Writer(const ModelPlan& plan, const Weights& weights, const WriterSettings& settings,
               Parallel& parallel)
    : settings_(settings),
      executor_(plan, weights, std::min(settings.chunk, settings.context), settings.context, parallel,
                settings.numerics),
      generator_(executor_, plan, std::min(settings.chunk, settings.context)),
      trunk_(executor_.make_state(settings.kv_type)) {
  if (settings.several) branch_.emplace(executor_.make_state(settings.kv_type));
}

bool Writer::read(std::span<const int32_t> prompt, const std::function<bool()>& go_on) {
  FATHOM_CHECK(!prompt.empty() && static_cast<int64_t>(prompt.size()) < settings_.context,
               "a prompt of " + std::to_string(prompt.size()) + " tokens");
  trunk_.reset();
  last_token_ = prompt.back();
  const int64_t end = static_cast<int64_t>(prompt.size()) - 1;
  while (trunk_.position() < end) {
    const int64_t begin = trunk_.position();
    const int64_t rows = std::min({settings_.chunk, settings_.context, end - begin});
    ForwardOptions options;
    options.logits = Logits::kNone;
    const ForwardResult result = executor_.forward(
        trunk_, prompt.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows)), options);
    spent_.add(begin, rows, false, result.depths);
    if (trunk_.position() < end && !go_on()) return false;
  }
  return true;
}

Result<Writer::Answer> Writer::write(const kernels::SamplingParams& sampling, int64_t max_tokens,
                                     std::span<const int32_t> end_ids,
                                     const std::function<bool(int32_t)>& go_on, bool last) {
  FATHOM_CHECK(last || branch_, "several answers to a prompt");
  if (!last) branch_->copy_from(trunk_);
  SequenceState& state = last ? trunk_ : *branch_;
  GenerateRequest request;
  request.prompt = {&last_token_, 1};
  request.max_tokens = max_tokens;
  request.sampling = sampling;
  request.stop_tokens.assign(end_ids.begin(), end_ids.end());
  const int64_t begin = state.position();
  FATHOM_ASSIGN(const GenerateResult result, generator_.run(state, request, [&](const GeneratedToken& token) {
    return go_on(token.token);
  }));
  const int64_t rows = state.position() - begin;
  spent_.add(begin, rows, true, result.depths);
  Answer answer{.finished = result.finish != FinishReason::kLength};
  for (const GeneratedToken& token : result.tokens) answer.tokens.push_back(token.token);
  return answer;
}

Result<int64_t> longest_written(const TaskItems& items, const Writing& writing, const PromptCodec& codec) {
  int64_t longest = 0;
  for (const Item& item : items.items) {
    const auto tokens = static_cast<int64_t>(codec.encode(item.context(0), writing.chat).size());
    if (tokens == 0) return invalid(place_of(items, item) + ": the prompt has no token");
    if (tokens >= writing.context) {
      return invalid(place_of(items, item) + ": a prompt of " + std::to_string(tokens) +
                     " tokens leaves no room for an answer, both are limited to " +
                     std::to_string(writing.context) + " tokens (--context)");
    }
    longest = std::max(longest, std::min(writing.context, tokens + writing.max_tokens));
  }
  return longest;
}

Result<TaskReport> evaluate_written(const TaskItems& items, const Writing& writing, const PromptCodec& codec,
                                    Writer& writer, const WritingCallbacks& callbacks) {
  WrittenFacts facts{.writing = writing, .chat_template = writing.chat ? codec.chat_template : ""};
  const auto go_on = [&](int32_t token) {
    const bool line_is_full =
        writing.rule == AnswerRule::kFirstLine && codec.decode({token}).find('\n') != std::string::npos;
    return !line_is_full && callbacks.go_on();
  };
  std::vector<ItemVerdicts> verdicts;
  for (const Item& item : items.items) {
    const std::vector<int32_t> prompt = codec.encode(item.context(0), writing.chat);
    const auto prompt_tokens = static_cast<int64_t>(prompt.size());
    std::vector<std::string> answers;
    double right = 0;
    const bool read = writer.read(prompt, callbacks.go_on);
    for (int64_t s = 0; read && s < writing.samples; ++s) {
      kernels::SamplingParams sampling = writing.sampling;
      sampling.seed = seed_of(sampling.seed, static_cast<int64_t>(verdicts.size()), s);
      Result<Writer::Answer> written =
          writer.write(sampling, std::min(writing.max_tokens, writing.context - prompt_tokens), codec.end_ids,
                       go_on, s + 1 == writing.samples);
      if (!written.ok()) return at(place_of(items, item), std::move(written).error());
      const Writer::Answer& answer = *written;
      ++facts.answers;
      facts.answer_tokens += static_cast<int64_t>(answer.tokens.size());
      facts.unfinished += answer.finished ? 0 : 1;
      answers.push_back(codec.decode(answer.tokens));
      right += is_right(writing.rule, answers.back(), item.continuation(0)) ? 1 : 0;
      if (!callbacks.go_on()) break;
    }
    verdicts.push_back({.of_metrics = {right / static_cast<double>(std::max<size_t>(1, answers.size()))},
                        .prompt_tokens = prompt_tokens});
    FATHOM_TRY(callbacks.on_item({.task = *items.task,
                                  .item = item,
                                  .scores = {},
                                  .answers = answers,
                                  .verdicts = verdicts.back().of_metrics,
                                  .done = static_cast<int64_t>(verdicts.size())}));
  }
  TaskReport report = report_of(items, verdicts);
  report.written = std::move(facts);
  return report;
}

}  // namespace fathom::eval
