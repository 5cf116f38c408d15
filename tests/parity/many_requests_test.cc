// A scheduler that has served many requests is as one that has served none: no page, no place in line and no
// memory is left of them, however they ended.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/random.h"
#include "base/testing.h"
#include "engine/executor_model.h"
#include "engine/scheduler.h"
#include "kernels/common/testing.h"
#include "plan/spec_io.h"
#include "tests/parity/tiny_weights.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

constexpr int64_t kContext = 64, kRows = 32, kInLine = 24;

// FATHOM_REQUESTS of them (tools/check-schedules: a hundred thousand), through a model with pages, rings and
// recurrences: with random lengths, priorities and guesses, prompts that begin alike, cancellations at any
// time, memory for a few, and states that are saved.
TEST(ManyRequests, LeaveNothingBehind) {
  const char* const asked = std::getenv("FATHOM_REQUESTS");
  const int64_t wanted = asked != nullptr ? std::atoll(asked) : 3000;
  const ModelPlan plan = *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/sambayda.toml"));
  SerialParallel serial;
  const Weights weights = random_weights(plan, 1, DType::kBF16, serial);
  Executor executor(plan, weights, kRows, kContext, serial);
  const int64_t whole = state_bytes(plan, kContext, kRows, DType::kBF16);
  ExecutorModel model(executor, plan, kRows, kContext, DType::kBF16, 5 * whole, 4 * whole, 8);
  model.save_in(std::filesystem::temp_directory_path());
  SteadyClock clock;
  Scheduler scheduler(model, serial, clock, {.max_sequences = 12, .reserve_tokens = 0});
  uint64_t draws = 0;
  const auto below = [&](int64_t most) {
    return static_cast<int64_t>(philox(7, 77, draws++)[0] % static_cast<uint64_t>(most));
  };
  int64_t submitted = 0, ended = 0, cancelled = 0, early = 0, most = 0;
  std::vector<RequestId> recent(64);
  while (ended < wanted) {
    while (submitted < wanted && scheduler.waiting() + scheduler.running() < kInLine) {
      Request request;
      request.prompt =
          testing::random_tokens(1 + below(40), plan.dims.vocab_size, static_cast<uint64_t>(below(3)));
      request.max_tokens = below(20);
      request.priority = static_cast<int32_t>(below(2));
      request.draft_tokens = below(2) * 3;
      request.sampling.seed = static_cast<uint64_t>(submitted);
      request.sampling.temperature = below(2) == 0 ? 0.0F : 1.0F;
      request.on_end = [&](RequestId, const RequestResult& result) {
        ++ended;
        cancelled += result.finish == FinishReason::kCancelled ? 1 : 0;
      };
      const Result<RequestId> id = scheduler.submit(std::move(request));
      ASSERT_TRUE(id.ok()) << id.error().message;
      recent[static_cast<size_t>(submitted++ % 64)] = *id;
    }
    if (below(8) == 0) scheduler.cancel(recent[static_cast<size_t>(below(64))]);
    scheduler.step();
    ASSERT_LE(model.memory().used(), model.memory().budget());
    if (early == 0 && ended >= wanted / 4) early = testing::resident_bytes();
    if (early > 0 && ended % 64 == 0) most = std::max(most, testing::resident_bytes());
  }
  EXPECT_FALSE(scheduler.step());
  EXPECT_EQ(scheduler.waiting() + scheduler.running(), 0);
  EXPECT_GE(cancelled, wanted / 100);
  EXPECT_GE(scheduler.counts().preemptions, wanted / 100);
  EXPECT_GE(scheduler.counts().cached, wanted / 10);
  model.forget_beginnings();
  EXPECT_EQ(model.memory().used(), 0);
  std::printf(
      "%ld requests, %ld cancelled, %ld preemptions; resident %.1f MiB after a quarter, %.1f at most\n",
      static_cast<long>(ended), static_cast<long>(cancelled),
      static_cast<long>(scheduler.counts().preemptions), static_cast<double>(early) / 1048576,
      static_cast<double>(most) / 1048576);
  // What is kept of beginnings comes and goes, with room for the allocator's own.
  EXPECT_LT(most - early, int64_t{2} << 20);
}

}  // namespace
}  // namespace fathom
