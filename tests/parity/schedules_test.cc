// A request gets the same tokens and the same bits of their log probabilities whatever runs beside it, in
// whatever rows its prompt is read, whoever has read its beginning before, whatever is guessed of its text,
// and however often its memory is taken from it. For every model.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/random.h"
#include "engine/executor_model.h"
#include "engine/scheduler.h"
#include "kernels/common/testing.h"
#include "tests/parity/tiny_weights.h"

namespace fathom {
namespace {

using testing::TinyModel;

constexpr int64_t kContext = 150, kRows = 24;

Request request_of(const TinyModel& model, uint64_t number, const std::function<int64_t(int64_t)>& below) {
  Request request;
  request.prompt = testing::random_tokens(1 + below(90), model.plan.dims.vocab_size, number);
  request.max_tokens = 1 + below(12);
  request.sampling.temperature = below(3) == 0 ? 0.0F : 0.9F;
  request.sampling.seed = number;
  request.priority = static_cast<int32_t>(below(2));
  request.prompt_log_probabilities = below(8) == 0;
  if (below(2) == 0) {  // texts without chance soon repeat themselves
    request.draft_tokens = 1 + below(5);
    request.sampling.temperature = 0;
    request.max_tokens = 24;
  }
  if (is_routed(model.plan) && below(3) == 0) request.rule.max_depth = 1;
  return request;
}

// By the generator for one sequence, with memory of its own.
std::vector<GeneratedToken> alone(Executor& executor, const TinyModel& model, DType kv_type,
                                  const Request& request) {
  SequenceState state = executor.make_state(kv_type);
  GenerateRequest generate;
  generate.prompt = request.prompt;
  generate.max_tokens = request.max_tokens;
  generate.sampling = request.sampling;
  generate.max_depth = request.rule.max_depth;
  Generator generator(executor, model.plan, kRows);
  return generator.run(state, generate, [](const GeneratedToken&) { return true; })->tokens;
}

// Log probabilities of the prompt's tokens from the second on, from the logits of one call.
std::vector<GeneratedToken> scored_alone(Executor& executor, const TinyModel& model, DType kv_type,
                                         Parallel& parallel, const Request& request) {
  SequenceState state = executor.make_state(kv_type);
  TokenDraw draw(model.plan.dims.vocab_size, parallel);
  std::vector<GeneratedToken> scored;
  const std::span<const int32_t> prompt = request.prompt;
  for (size_t from = 0; from + 1 < prompt.size(); from += kRows) {
    const size_t rows = std::min(static_cast<size_t>(kRows), prompt.size() - 1 - from);
    ForwardOptions options;
    options.max_depth = request.rule.max_depth;
    options.logits = Logits::kAll;
    const float* logits = executor.forward(state, prompt.subspan(from, rows), options).logits;
    for (size_t r = 0; r < rows; ++r, logits += model.plan.dims.vocab_size)
      scored.push_back(*draw.given(prompt[from + r + 1], logits));
  }
  return scored;
}

void expect_alike(const std::vector<GeneratedToken>& found, const std::vector<GeneratedToken>& expected) {
  ASSERT_LE(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].token, expected[i].token) << i;
    EXPECT_EQ(found[i].log_probability, expected[i].log_probability) << i;
  }
}

struct Counts {
  int64_t preemptions = 0, cut_short = 0, cached = 0, drafted = 0, accepted = 0, scored = 0, restored = 0;
};

void run_schedule(Executor& executor, const TinyModel& model, DType kv_type, Parallel& parallel,
                  uint64_t seed, Counts& counts) {
  uint64_t draws = 0;
  const std::function<int64_t(int64_t)> below = [&](int64_t most) {
    return static_cast<int64_t>(philox(seed, 31, draws++)[0] % static_cast<uint64_t>(most));
  };
  const int64_t whole = state_bytes(model.plan, kContext, kRows, kv_type);
  // Two of three schedules keep beginnings for others, and some prompts begin alike.
  const bool keeps = below(3) > 0;
  ExecutorModel sequences(executor, model.plan, kRows, kContext, kv_type, 2 * whole, keeps ? whole : 0,
                          8 * (1 + below(3)));
  const bool saves = below(2) == 0;
  if (saves) sequences.save_in(std::filesystem::temp_directory_path());
  const std::vector<int32_t> common = testing::random_tokens(90, model.plan.dims.vocab_size, 1000 + seed);
  SteadyClock clock;
  Scheduler scheduler(sequences, parallel, clock,
                      {.max_sequences = 1 + below(kRows), .reserve_tokens = below(2) * 16});
  std::map<RequestId, Request> asked;
  std::map<RequestId, RequestResult> results;
  int64_t left = 8;
  uint64_t number = seed * 100;
  while (left > 0 || scheduler.waiting() + scheduler.running() > 0) {
    if (left > 0 && below(2) == 0) {
      Request request = request_of(model, number++, below);
      if (below(3) > 0) std::copy_n(common.begin(), request.prompt.size() * 3 / 4, request.prompt.begin());
      request.keep_prompt = below(3) == 0;
      Request kept = request;
      request.on_end = [&](RequestId id, RequestResult result) { results.emplace(id, std::move(result)); };
      const Result<RequestId> id = scheduler.submit(std::move(request));
      ASSERT_TRUE(id.ok()) << id.error().message;
      asked.emplace(*id, std::move(kept));
      --left;
    }
    if (!asked.empty() && below(10) == 0)
      scheduler.cancel(std::next(asked.begin(), below(asked.size()))->first);
    scheduler.step();
  }
  ASSERT_EQ(results.size(), asked.size());
  for (const auto& [id, request] : asked) {
    SCOPED_TRACE("request " + std::to_string(id));
    const RequestResult& result = results.at(id);
    const std::vector<GeneratedToken> expected = alone(executor, model, kv_type, request);
    if (result.finish == FinishReason::kCancelled) {
      ASSERT_LE(result.tokens.size(), expected.size());
      ++counts.cut_short;
    } else {
      ASSERT_EQ(result.tokens.size(), expected.size());
    }
    expect_alike(result.tokens, expected);
    if (!request.prompt_log_probabilities) continue;
    const std::vector<GeneratedToken> scored = scored_alone(executor, model, kv_type, parallel, request);
    EXPECT_TRUE(result.finish == FinishReason::kCancelled || result.prompt.size() == scored.size());
    expect_alike(result.prompt, scored);
    counts.scored += static_cast<int64_t>(result.prompt.size());
  }
  counts.preemptions += scheduler.counts().preemptions;
  counts.cached += scheduler.counts().cached;
  counts.drafted += scheduler.counts().drafted;
  counts.accepted += scheduler.counts().accepted;
  counts.restored += scheduler.counts().restored;
  sequences.forget_beginnings();
  EXPECT_EQ(sequences.memory().used(), 0);
}

void expect_alike(DType type, Parallel& parallel, uint64_t seeds) {
  Counts counts;
  uint64_t seed = 0;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = testing::weights_of(model, type);
    Executor executor(model.plan, weights, kRows, kContext, parallel);
    for (uint64_t run = 0; run < seeds; ++run)
      run_schedule(executor, model, testing::kv_type_of(type), parallel, seed++, counts);
  });
  EXPECT_GE(counts.preemptions, 20);
  EXPECT_GE(counts.cut_short, 10);
  EXPECT_GE(counts.cached, 500);
  EXPECT_GE(counts.accepted, 50);
  EXPECT_GE(counts.drafted - counts.accepted, 50);
  EXPECT_GE(counts.scored, 100);
  EXPECT_GE(counts.restored, 200);
}

TEST(Schedules, DoNotChangeABit) {
  ThreadPool pool(2);
  kernels::testing::for_each_level([&] { expect_alike(DType::kBF16, pool, 1); });
  SerialParallel serial;
  expect_alike(DType::kF32, serial, 2);
  expect_alike(DType::kI8, serial, 1);
  expect_alike(DType::kI4, serial, 1);
}

// What a model is made of, as far as states differ by it.
std::string family_of(const TinyModel& model) {
  const bool hybrid = std::ranges::any_of(model.plan.slots, [](const Slot& slot) {
    return slot.kind == SlotKind::kSsmState || slot.kind == SlotKind::kGmuMemory;
  });
  if (is_routed(model.plan)) return hybrid ? "routed hybrid" : "routed";
  return hybrid ? "hybrid" : "plain";
}

// As many schedules for each family as FATHOM_SCHEDULES says (tools/check-schedules: a thousand).
TEST(Schedules, OfEachFamily) {
  const char* const asked = std::getenv("FATHOM_SCHEDULES");
  const int64_t wanted = asked != nullptr ? std::atoll(asked) : 10;
  std::map<std::string, int64_t> models, schedules;
  testing::for_each_tiny_model([&](const TinyModel& model) { ++models[family_of(model)]; });
  EXPECT_EQ(models.size(), 4U);
  SerialParallel serial;
  Counts counts;
  uint64_t seed = 1000000;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const std::string family = family_of(model);
    const int64_t seeds = (wanted + models[family] - 1) / models[family];
    const Weights weights = testing::weights_of(model, DType::kBF16);
    Executor executor(model.plan, weights, kRows, kContext, serial);
    for (int64_t run = 0; run < seeds; ++run, ++schedules[family])
      run_schedule(executor, model, testing::kv_type_of(DType::kBF16), serial, seed++, counts);
  });
  for (const auto& [family, count] : schedules) {
    EXPECT_GE(count, wanted);
    std::printf("%s: %ld models, %ld schedules\n", family.c_str(), static_cast<long>(models[family]),
                static_cast<long>(count));
  }
  std::printf(
      "preemptions %ld, cut short %ld, tokens found read %ld, restored %ld, guesses %ld, of them right %ld\n",
      static_cast<long>(counts.preemptions), static_cast<long>(counts.cut_short),
      static_cast<long>(counts.cached), static_cast<long>(counts.restored), static_cast<long>(counts.drafted),
      static_cast<long>(counts.accepted));
}

}  // namespace
}  // namespace fathom
