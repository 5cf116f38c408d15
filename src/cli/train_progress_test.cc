// What a training run says of its speed and of the time it still needs.
#include <gtest/gtest.h>

#include "cli/train_observers.h"
#include "plan/spec_io.h"

namespace fathom::cli {
namespace {

// Standard error of a run of `steps` steps from `first` on, each of 1,000 tokens and two seconds, that needs
// 40 MiB. `model` is one of configs/models/tiny, `report` what each step says beside its numbers.
std::string shown(int64_t first, int64_t steps, std::optional<int64_t> free_mib = std::nullopt,
                  const std::string& model = "llama", const train::StepReport& said = {}) {
  const ModelPlan plan = *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/" + model + ".toml"));
  train::RunConfig config;
  config.name = "run";
  config.train.steps = steps;
  config.train.log_every = 1;
  train::RunSummary summary;
  summary.config = &config;
  summary.plan = &plan;
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
    train::StepReport report = said;
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

// By the kind of routing, in a line that has room on most terminals.
TEST(TrainProgress, SaysHowRoutersDo) {
  train::StepReport expert, token, deepest, shallow;
  expert.sampling_accuracy = 0.9749;
  expert.sampling_overlap = 0.931;
  expert.kept = {1, 0.667, 0.333};
  token.violation = 0.2;
  token.entropy = 1.05;
  token.kept = {1, 0.6, 0.25};
  deepest.violation = shallow.violation = 2;
  deepest.kept = {1, 1, 1};
  shallow.kept = {1};
  const struct {
    std::string model;
    train::StepReport report;
    std::string said;
  } rows[] = {{"mor-middle_cycle-nr3", expert, "  router 97.5 %  kept 100/67/33 %\n"},
              {"mor-aux-router", expert, "  router 97.5 %  top-k 93 %  kept 100/67/33 %\n"},
              {"mor-token", token, "  load 40/35/25 %  MaxVio 0.20  entropy 1.05\n"},
              // No entropy is no sign of expert choice.
              {"mor-token", deepest, "  load 0/0/100 %  MaxVio 2.00  entropy 0.00\n"},
              {"mor-token", shallow, "  load 100/0/0 %  MaxVio 2.00  entropy 0.00\n"},
              {"llama", {}, " left\n"}};
  for (const auto& row : rows) {
    const std::string text = shown(0, 1, std::nullopt, row.model, row.report);
    EXPECT_TRUE(text.ends_with("  0:00 left" + (row.model == "llama" ? "\n" : row.said))) << text;
    EXPECT_LE(text.size() - text.find("step "), 110U) << text;
  }
}

TEST(TrainProgress, EvaluationsSayWhichPlacesAreDead) {
  const std::unique_ptr<train::TrainObserver> progress = [] {
    static FakeClock clock;
    return make_progress_observer(/*quiet=*/false, clock);
  }();
  ::testing::internal::CaptureStderr();
  progress->on_evaluation({.step = 7,
                           .predictions = 12,
                           .nll = 4.5,
                           .nll_threshold = 4.25,
                           .mean_depth = 2.01,
                           .dead_share = 0.0625});
  progress->on_evaluation({.step = 8, .predictions = 12, .nll = 4.5, .nll_threshold = 4.5});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "after 7 steps: validation loss 4.5000 (causal routing 4.2500, mean depth 2.01, dead 6.2 %) over "
            "12 predictions\nafter 8 steps: validation loss 4.5000 over 12 predictions\n");
}

// Rows that nobody held out are named as such.
TEST(TrainProgress, SaysOnWhichRowsThresholdsAreCalibrated) {
  train::RunConfig config;
  train::RunSummary summary;
  summary.config = &config;
  summary.valid_rows = 20;
  summary.calibration_rows = 16;
  FakeClock clock;
  const auto text = [&] {
    const std::unique_ptr<train::TrainObserver> progress = make_progress_observer(/*quiet=*/false, clock);
    ::testing::internal::CaptureStderr();
    progress->on_start(summary);
    return ::testing::internal::GetCapturedStderr();
  };
  const std::string where = "thresholds of causal routing: calibrated at evaluations and checkpoints, on 16 ";
  EXPECT_NE(text().find(where + "validation rows\n"), std::string::npos);
  summary.valid_rows = 0;
  EXPECT_NE(text().find(where + "training rows, as there is no validation data\n"), std::string::npos);
  summary.calibration_rows = 0;
  EXPECT_EQ(text().find("thresholds"), std::string::npos);
}

}  // namespace
}  // namespace fathom::cli
