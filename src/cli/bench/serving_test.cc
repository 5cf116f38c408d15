// A load through the scheduler of a tiny model, by a clock of the test's own.
#include "cli/bench/serving.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/executor_model.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::cli::bench {
namespace {

constexpr int64_t kRows = 16, kContext = 128;

// The engine, whose passes take a second each and are written down.
class TimedModel final : public SequenceModel {
 public:
  TimedModel(SequenceModel& model, FakeClock& clock) : model_(model), clock_(clock) {}
  int64_t vocab() const override { return model_.vocab(); }
  int64_t context() const override { return model_.context(); }
  int64_t max_rows() const override { return model_.max_rows(); }
  int64_t max_logits() const override { return model_.max_logits(); }
  int64_t bytes(int64_t tokens) const override { return model_.bytes(tokens); }
  int64_t budget() const override { return model_.budget(); }
  int64_t room() const override { return model_.room(); }
  bool make_room(int64_t bytes) override { return model_.make_room(bytes); }
  std::unique_ptr<Sequence> start(std::span<const int32_t> tokens, int64_t most_known,
                                  const DepthRule& rule) override {
    return model_.start(tokens, most_known, rule);
  }
  void keep(const Sequence& sequence, std::span<const int32_t> tokens, const DepthRule& rule) override {
    model_.keep(sequence, tokens, rule);
  }
  int64_t keep_every() const override { return model_.keep_every(); }
  std::span<const float* const> pass(std::span<const Call> calls) override {
    std::string line;
    for (const Call& call : calls) {
      line += std::to_string(call.sequence->position());
      for (int32_t token : call.tokens) line.append(1, ' ').append(std::to_string(token));
      line += ';';
    }
    log.push_back(line);
    if (on_pass) on_pass();
    clock_.advance(1);
    return model_.pass(calls);
  }

  std::vector<std::string> log;  // a line a pass: place and tokens of every call
  std::function<void()> on_pass;

 private:
  SequenceModel& model_;
  FakeClock& clock_;
};

struct Served {
  Result<ServingResult> result;
  SchedulerCounts counts;
  std::vector<std::string> log;
};

// `stop_after`: passes, after which somebody presses Ctrl-C.
Served serve_tiny(const Load& load, int64_t memory = 1 << 20, size_t stop_after = 1'000'000,
                  int64_t cached = 0) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  const Weights weights = random_weights(plan, 5, DType::kF32, serial);
  Executor executor(plan, weights, kRows, kContext, serial);
  ExecutorModel engine(executor, plan, kRows, kContext, DType::kF32, memory, cached, /*keep_every=*/4);
  FakeClock clock;
  TimedModel model(engine, clock);
  std::atomic<bool> stop{false};
  model.on_pass = [&] { stop = model.log.size() >= stop_after; };
  Scheduler scheduler(model, serial, clock, {.max_sequences = 8, .reserve_tokens = 2});
  const ServingHooks hooks{.clock = clock, .wait = [&](double s) { clock.advance(s); }, .stop = stop};
  Result<ServingResult> result = serve(scheduler, load, model.vocab(), hooks);
  EXPECT_EQ(scheduler.waiting() + scheduler.running(), 0);
  return {std::move(result), scheduler.counts(), model.log};
}

// One after another: a pass for the prompt, and one for each token but the first.
TEST(Serving, TimesAreThoseThatARequestSees) {
  const Served served = serve_tiny({.requests = 3, .concurrency = 1, .input = 10, .output = 4});
  ASSERT_TRUE(served.result.ok());
  const ServingResult& result = *served.result;
  EXPECT_EQ(result.completed, 3);
  EXPECT_EQ(result.input_tokens, 30);
  EXPECT_EQ(result.output_tokens, 12);
  EXPECT_EQ(result.seconds, 12);
  EXPECT_EQ(result.first_token, std::vector<double>(3, 1));
  EXPECT_EQ(result.between, std::vector<double>(9, 1));
  EXPECT_EQ(result.all, std::vector<double>(3, 4));
  EXPECT_EQ(result.most_running, 1);
  EXPECT_FALSE(result.stopped);
}

// Eight prompts of ten rows share passes of 16: each waits for those before it, and that counts.
TEST(Serving, ConcurrencyBoundsWhatIsUnderWay) {
  const Load load{.requests = 8, .concurrency = 3, .input = 10, .output = 4};
  const ServingResult few = *serve_tiny(load).result;
  EXPECT_EQ(few.most_running, 3);
  EXPECT_EQ(few.completed, 8);
  Load all = load;
  all.concurrency = 0;
  const ServingResult many = *serve_tiny(all).result;
  EXPECT_EQ(many.most_running, 8);
  EXPECT_LT(many.seconds, few.seconds);
  EXPECT_GT(many.first_token.back(), few.first_token.back());
}

// A request that comes in the middle of a pass waits for its end, and has waited since it came.
TEST(Serving, TimesCountFromTheArrival) {
  const Load load{.requests = 20, .rate = 0.01, .input = 10, .output = 4, .seed = 3};
  const std::vector<LoadItem> items = draw_load(load);
  const ServingResult idle = *serve_tiny(load).result;
  for (size_t i = 0; i < 20; ++i) EXPECT_GE(idle.first_token[i], 1 - 1e-9);
  EXPECT_GE(idle.seconds, items.back().arrival);
  EXPECT_EQ(idle.completed, 20);

  Load busy = load;
  busy.rate = 100;
  busy.concurrency = 1;
  const ServingResult queued = *serve_tiny(busy).result;
  const std::vector<LoadItem> crowd = draw_load(busy);
  for (size_t i = 0; i < 20; ++i) {  // one after another, four passes each
    EXPECT_NEAR(queued.all[i], 4 * static_cast<double>(i + 1) - crowd[i].arrival, 1e-9);
  }
}

TEST(Serving, TheSameSeedMakesTheSamePassesAndTokens) {
  Load load{.requests = 12, .rate = 0.7, .input = 12, .output = 6, .range_ratio = 0.5, .seed = 8};
  const Served once = serve_tiny(load), again = serve_tiny(load);
  ASSERT_TRUE(once.result.ok());
  EXPECT_EQ(once.log, again.log);
  EXPECT_EQ(once.result->first_token, again.result->first_token);
  EXPECT_EQ(once.result->all, again.result->all);
  load.seed = 9;
  EXPECT_NE(serve_tiny(load).log, once.log);
}

TEST(Serving, CountsPreemptionsAndWhatOthersHadRead) {
  const Load load{.requests = 6, .prefix = 16, .input = 8, .output = 60};
  EXPECT_EQ(serve_tiny(load).counts.preemptions, 0);
  SerialParallel serial;
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  // Two have room to begin, and one to go on.
  const int64_t one = state_bytes(plan, 24, kRows, DType::kF32);
  const Served tight = serve_tiny(load, 3 * one);
  ASSERT_TRUE(tight.result.ok()) << tight.result.error().message;
  EXPECT_EQ(tight.result->completed, 6);
  EXPECT_GT(tight.counts.preemptions, 0);
  EXPECT_GT(tight.result->seconds, serve_tiny(load).result->seconds);
  Load sharing = load;  // what the first call reads of a prompt is what all begin with
  sharing.concurrency = 1;
  EXPECT_EQ(serve_tiny(sharing, 1 << 24, 1'000'000, 1 << 23).counts.cached, 5 * 16);
}

TEST(Serving, StopsWithWhatWasMeasured) {
  const Load load{.requests = 10, .concurrency = 2, .input = 8, .output = 4};
  const Served served = serve_tiny(load, 1 << 20, 6);
  ASSERT_TRUE(served.result.ok());
  EXPECT_TRUE(served.result->stopped);
  EXPECT_EQ(served.log.size(), 6U);
  EXPECT_EQ(served.result->completed, 2);  // four passes, and two of the next ones
  EXPECT_EQ(served.result->output_tokens, 12);
  EXPECT_EQ(served.result->seconds, 6);
}

TEST(Serving, ARequestThatCannotBeServedEndsTheRun) {
  const Served served = serve_tiny({.requests = 2, .input = 128, .output = 4});
  ASSERT_FALSE(served.result.ok());
  EXPECT_NE(served.result.error().message.find("leaves no room in a context of 128"), std::string::npos);
}

}  // namespace
}  // namespace fathom::cli::bench
