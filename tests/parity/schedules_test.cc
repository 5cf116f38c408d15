// A request gets the same tokens and the same bits of their log probabilities whatever runs beside it, in
// whatever rows its prompt is read, whoever has read its beginning before, and however often its memory is
// taken from it. For every model.
#include <algorithm>
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

struct Counts {
  int64_t preemptions = 0, cut_short = 0, cached = 0;
};

void run_schedule(Executor& executor, const TinyModel& model, DType kv_type, Parallel& parallel,
                  uint64_t seed, Counts& counts) {
  uint64_t draws = 0;
  const std::function<int64_t(int64_t)> below = [&](int64_t most) {
    return static_cast<int64_t>(philox(seed, 31, draws++)[0] % static_cast<uint64_t>(most));
  };
  const int64_t whole = state_bytes(model.plan, kContext, kRows, kv_type);
  // Half of the schedules keep beginnings for others, and some prompts begin alike.
  const bool keeps = below(2) == 0;
  ExecutorModel sequences(executor, model.plan, kRows, kContext, kv_type, 2 * whole, keeps ? whole : 0,
                          8 * (1 + below(4)));
  const std::vector<int32_t> common = testing::random_tokens(90, model.plan.dims.vocab_size, 1000 + seed);
  SteadyClock clock;
  Scheduler scheduler(sequences, parallel, clock,
                      {.max_sequences = 1 + below(kRows), .reserve_tokens = below(2) * 16});
  std::map<RequestId, Request> asked;
  std::map<RequestId, RequestResult> results;
  int64_t left = 7;
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
    for (size_t i = 0; i < result.tokens.size(); ++i) {
      EXPECT_EQ(result.tokens[i].token, expected[i].token) << i;
      EXPECT_EQ(result.tokens[i].log_probability, expected[i].log_probability) << i;
    }
  }
  counts.preemptions += scheduler.counts().preemptions;
  counts.cached += scheduler.counts().cached;
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
}

TEST(Schedules, DoNotChangeABit) {
  ThreadPool pool(2);
  kernels::testing::for_each_level([&] { expect_alike(DType::kBF16, pool, 1); });
  SerialParallel serial;
  expect_alike(DType::kF32, serial, 2);
  expect_alike(DType::kI8, serial, 1);
  expect_alike(DType::kI4, serial, 1);
}

}  // namespace
}  // namespace fathom
