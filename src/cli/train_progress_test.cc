// What a training run says of its speed and of the time it still needs.
#include <gtest/gtest.h>

#include "cli/train_observers.h"

namespace fathom::cli {
namespace {

// Standard error of a run of `steps` steps from `first` on, each of 1,000 tokens and two seconds, that needs
// 40 MiB.
std::string shown(int64_t first, int64_t steps, std::optional<int64_t> free_mib = std::nullopt) {
  train::RunConfig config;
  config.name = "run";
  config.train.steps = steps;
  config.train.log_every = 1;
  train::RunSummary summary;
  summary.config = &config;
  summary.first_step = first;
  summary.memory_bytes = 40 << 20;
  FakeClock clock;
  std::optional<int64_t> available;
  if (free_mib) available = *free_mib << 20;
  const std::unique_ptr<train::TrainObserver> progress =
      make_progress_observer(/*quiet=*/false, clock, available);
  ::testing::internal::CaptureStderr();
  progress->on_start(summary);
  for (int64_t step = first; step < steps; ++step) {
    clock.advance(2);
    train::StepReport report;
    report.step = step;
    report.steps = steps;
    report.tokens = 1000 * (step + 1);
    report.step_tokens = 1000;
    progress->on_step(report);
  }
  return ::testing::internal::GetCapturedStderr();
}

TEST(TrainProgress, SaysSpeedAndTimeLeft) {
  const std::string text = shown(0, 3);
  EXPECT_NE(text.find("step 1/3  loss 0.0000  norm 0.00  500 tokens/s  0:04 left\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("step 3/3  loss 0.0000  norm 0.00  500 tokens/s  0:00 left\n"), std::string::npos)
      << text;
}

TEST(TrainProgress, WhatWasDoneBeforeIsNotCountedAsSpeed) {
  const std::string text = shown(900, 903);
  EXPECT_NE(text.find("going on at step 900\n"), std::string::npos) << text;
  EXPECT_NE(text.find("step 901/903  loss 0.0000  norm 0.00  500 tokens/s  0:04 left\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("step 903/903  loss 0.0000  norm 0.00  500 tokens/s  0:00 left\n"), std::string::npos)
      << text;
}

TEST(TrainProgress, MemoryThatIsNotThereIsToldAtTheStart) {
  EXPECT_NE(shown(0, 1, 39).find("fathom-train: run needs about 40 MiB of memory, but 39 MiB are free; "),
            std::string::npos);
  EXPECT_EQ(shown(0, 1, 40), shown(0, 1));
}

}  // namespace
}  // namespace fathom::cli
