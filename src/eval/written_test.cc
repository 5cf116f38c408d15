// What is written after a prompt that was read once is what a generator writes after all of it; verdicts and
// counts of written answers.
#include "eval/written.h"

#include <gtest/gtest.h>

#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::eval {
namespace {

using namespace testing_plan;
using Ids = std::vector<int32_t>;

constexpr int64_t kContext = 40;

Ids prompt_of(const std::string& text, bool /*chat*/) {
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<int32_t>(static_cast<uint8_t>(c) % 97));
  return ids;
}

// Every answer reads `answer`.
PromptCodec codec_that_says(const std::string& answer) {
  return {.encode = prompt_of,
          .decode = [answer](const Ids&) { return answer; },
          .end_ids = {},
          .chat_template = {}};
}

struct Model {
  explicit Model(const ModelSpec& spec)
      : plan(*build_plan(spec)), weights(random_weights(plan, 3, DType::kF32, serial)) {}
  Writer writer(int64_t chunk, bool several = true) {
    return {plan, weights, {.context = kContext, .chunk = chunk, .several = several}, serial};
  }
  SerialParallel serial;
  ModelPlan plan;
  Weights weights;
};

TaskItems items_of(const char* task, const std::vector<std::string>& prompts) {
  TaskItems items{.task = *find_task(task), .file = "x.jsonl"};
  for (const std::string& prompt : prompts) {
    const auto index = static_cast<int64_t>(items.items.size());
    items.items.push_back({.index = index, .contexts = {prompt}, .continuations = {"42"}});
  }
  return items;
}

WritingCallbacks no_callbacks() {
  return {.on_item = [](const ScoredItem&) { return Status(); }, .go_on = [] { return true; }};
}

Writing drawn(int64_t samples, int64_t max_tokens) {
  return {.rule = AnswerRule::kMath,
          .samples = samples,
          .max_tokens = max_tokens,
          .context = kContext,
          .sampling = {.temperature = 1, .seed = 7}};
}

const std::function<bool()> always = [] { return true; };

std::vector<ModelSpec> specs() { return {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8)}; }

TEST(Writer, WritesWhatAGeneratorWrites) {
  for (const ModelSpec& spec : specs()) {
    SCOPED_TRACE(spec.architecture);
    Model model(spec);
    const Ids prompt = prompt_of("what stands here is read once", false);
    const kernels::SamplingParams sampling = {.temperature = 1, .seed = 11};
    Executor executor(model.plan, model.weights, kContext, kContext, model.serial);
    SequenceState state = executor.make_state(DType::kF32);
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = 9;
    request.sampling = sampling;
    Ids expected;
    const auto generated =
        Generator(executor, model.plan, kContext).run(state, request, [&](const GeneratedToken& token) {
          expected.push_back(token.token);
          return true;
        });
    ASSERT_TRUE(generated.ok());
    for (const int64_t chunk : {1, 7, 100}) {
      Writer writer = model.writer(chunk);
      for (int read = 0; read < 2; ++read) {
        ASSERT_TRUE(writer.read(prompt, always));
        for (const bool last : {false, false, true}) {
          const Writer::Answer answer = *writer.write(
              sampling, 9, {}, [](int32_t) { return true; }, last);
          EXPECT_EQ(answer.tokens, expected) << chunk;
          EXPECT_FALSE(answer.finished);
        }
      }
      // The prompt but its last token once, that token and all but the last one written for every answer.
      EXPECT_EQ(writer.spent().rows(), 2 * (static_cast<int64_t>(prompt.size()) - 1 + 3 * 9));
    }
  }
}

TEST(Writer, TheReadingOfAPromptEndsWhereTheCallerSays) {
  Model model(tiny());
  Writer writer = model.writer(4);
  const Ids prompt = prompt_of("a prompt of some chunks", false);
  int asked = 0;
  EXPECT_FALSE(writer.read(prompt, [&] { return ++asked < 3; }));
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(writer.spent().rows(), 12);
}

TEST(Writer, AnswersEndAtEndTokensAndWhereTheCallerSays) {
  Model model(tiny());
  Writer writer = model.writer(7, /*several=*/false);
  const Ids prompt = prompt_of("a prompt", false);
  const auto greedy = [&](std::span<const int32_t> ends, const std::function<bool(int32_t)>& go_on) {
    EXPECT_TRUE(writer.read(prompt, always));
    return *writer.write({.temperature = 0}, 9, ends, go_on, true);
  };
  const Ids all = greedy({}, [](int32_t) { return true; }).tokens;
  ASSERT_EQ(all.size(), 9U);
  const Writer::Answer ended = greedy({&all[0], 1}, [](int32_t) { return true; });
  EXPECT_TRUE(ended.tokens.empty());
  EXPECT_TRUE(ended.finished);
  const Writer::Answer stopped = greedy({}, [](int32_t) { return false; });
  EXPECT_EQ(stopped.tokens.size(), 1U);
  EXPECT_TRUE(stopped.finished);
}

TEST(Written, SamplesOfAnItemDifferAndSeedsRepeatThem) {
  Model model(tiny());
  const TaskItems items = items_of("aime24", {"the same", "the same"});
  const auto texts = [&](uint64_t seed, int64_t samples) {
    PromptCodec codec = codec_that_says("");
    codec.decode = [](const Ids& ids) {
      std::string text;
      for (int32_t id : ids) text += std::to_string(id) + " ";
      return text;
    };
    Writing writing = drawn(samples, 12);
    writing.sampling.seed = seed;
    std::vector<std::string> all;
    WritingCallbacks callbacks = no_callbacks();
    callbacks.on_item = [&](const ScoredItem& scored) {
      all.insert(all.end(), scored.answers.begin(), scored.answers.end());
      return Status();
    };
    Writer writer = model.writer(7);
    EXPECT_TRUE(evaluate_written(items, writing, codec, writer, callbacks).ok());
    return all;
  };
  const std::vector<std::string> three = texts(7, 3), again = texts(7, 3), one = texts(7, 1),
                                 other = texts(8, 3);
  ASSERT_EQ(three.size(), 6U);
  EXPECT_EQ(three, again);
  for (size_t a = 0; a < 6; ++a) {
    for (size_t b = a + 1; b < 6; ++b) EXPECT_NE(three[a], three[b]) << a << " " << b;
    EXPECT_NE(three[a], other[a]);
  }
  EXPECT_EQ(one[0], three[0]) << "an answer does not depend on how many there are";
  EXPECT_EQ(one[1], three[3]);
}

TEST(Written, VerdictsAreSharesOfTheAnswers) {
  Model model(tiny());
  const TaskItems items = items_of("math_500", {"four", "letters"});
  PromptCodec codec = codec_that_says("");
  int64_t decoded = 0;
  codec.decode = [&](const Ids&) { return decoded++ % 4 == 3 ? "\\boxed{41}" : "\\boxed{042}"; };
  Writer writer = model.writer(7);
  const Writing writing = drawn(4, 5);
  const Result<TaskReport> report = evaluate_written(items, writing, codec, writer, no_callbacks());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->total.metrics[0].metric, Metric::kPassAtOne);
  EXPECT_EQ(report->total.metrics[0].estimate.value, 0.75);
  EXPECT_EQ(report->total.items, 2);
  EXPECT_EQ(report->total.prompt_tokens, 5.5);
  EXPECT_EQ(report->written->answers, 8);
  EXPECT_EQ(report->written->answer_tokens, 40);
  EXPECT_EQ(report->written->unfinished, 8);
  EXPECT_EQ(report->written->writing.samples, 4);
}

TEST(Written, AnswersOfOneLineEndWithIt) {
  Model model(tiny());
  Writing writing = drawn(1, 20);
  writing.rule = AnswerRule::kFirstLine;
  TaskItems items = items_of("phonebook", {"a", "b", "c", "d"});
  for (size_t i = 0; i < items.items.size(); ++i) {
    items.items[i].group = "phonebook_3";
    items.items[i].measurement = static_cast<int64_t>(i / 2);
  }
  items.items[0].continuations = {"another"};
  Writer writer = model.writer(7);
  const auto report = evaluate_written(items, writing, codec_that_says(" 42\n"), writer, no_callbacks());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->written->answer_tokens, 4);
  EXPECT_EQ(report->written->unfinished, 0);
  ASSERT_EQ(report->groups.size(), 1U);
  EXPECT_EQ(report->groups[0].measurements, (std::vector<double>{0.5, 1}));
  EXPECT_EQ(report->groups[0].metrics[0].estimate.value, 0.75);
}

TEST(Written, TheCallerEndsWhatIsBeingWritten) {
  Model model(tiny());
  const TaskItems items = items_of("aime24", {"a", "b"});
  Writer writer = model.writer(7);
  for (const auto& [end, answers] : {std::pair<int, size_t>{1, 1}, {20, 1}, {21, 1}, {22, 2}, {50, 3}}) {
    WritingCallbacks callbacks = no_callbacks();
    int asked = 0;  // behind each of an answer's 20 tokens, and behind the answer
    callbacks.go_on = [&] { return ++asked < end; };
    callbacks.on_item = [&](const ScoredItem& scored) {
      EXPECT_EQ(scored.done, 1);
      EXPECT_EQ(scored.answers.size(), answers);
      return Status(Error{"stopped", ErrorKind::kCancelled});
    };
    const auto report = evaluate_written(items, drawn(5, 20), codec_that_says("x"), writer, callbacks);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().message, "stopped");
  }
}

TEST(Written, PromptsThatLeaveNoRoomAreRefusedBeforehand) {
  const PromptCodec codec = codec_that_says("");
  EXPECT_EQ(*longest_written(items_of("aime24", {"four", "letters"}), drawn(1, 5), codec), 12);
  EXPECT_EQ(*longest_written(items_of("aime24", {"four", "letters"}), drawn(1, 500), codec), kContext);
  EXPECT_EQ(
      longest_written(items_of("aime24", {"a", std::string(40, 'x')}), drawn(1, 5), codec).error().message,
      "x.jsonl, item 1: a prompt of 40 tokens leaves no room for an answer, both are limited to 40 tokens "
      "(--context)");
  EXPECT_EQ(longest_written(items_of("aime24", {""}), drawn(1, 5), codec).error().message,
            "x.jsonl, item 0: the prompt has no token");
}

}  // namespace
}  // namespace fathom::eval
