#include "engine/depth_controller.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "plan/spec_io.h"

namespace fathom {
namespace {

ModelPlan plan_of(const std::string& name) {
  return *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/" + name + ".toml"));
}

// A token of three passes whose router says two numbers, of any scale and bias.
double mean_depth(DepthController& controller, int tokens, float scale, float offset) {
  double sum = 0;
  for (int t = 0; t < tokens; ++t) {
    uint8_t depth = 1;
    for (uint64_t r = 1;
         r <= 2 && normal(1, r, static_cast<uint64_t>(t)) * scale + offset >= controller.shift(); ++r)
      ++depth;
    controller.note({&depth, 1}, 0.001);
    sum += depth;
  }
  return sum / tokens;
}

TEST(DepthController, MeetsABudgetWhateverTheScoresLookLike) {
  for (float scale : {0.3F, 1.0F, 5.0F, 25.0F}) {
    for (float offset : {-4.0F, 0.0F, 4.0F}) {
      for (double budget : {0.4, 0.6, 0.8, 0.95, 1.0}) {
        const ModelPlan plan = plan_of("mor-middle_cycle-nr3");
        DepthController controller(plan);
        controller.aim_at_budget(budget);
        EXPECT_NEAR(mean_depth(controller, 300, scale, offset), 3 * budget, 0.1)
            << scale << " " << offset << " " << budget;
      }
    }
  }
}

TEST(DepthController, ALittleBudgetIsStillOnePass) {
  const ModelPlan plan = plan_of("mor-middle_cycle-nr3");
  DepthController controller(plan);
  controller.aim_at_budget(0.1);
  EXPECT_EQ(controller.target_depth(), 1);
  EXPECT_LE(mean_depth(controller, 300, 1, 0), 1.05);
}

TEST(DepthController, SlowTokensMakeFewerPasses) {
  const ModelPlan plan = plan_of("mor-middle_cycle-nr3");
  DepthController slow(plan), fast(plan);
  slow.aim_at_latency(0.01);
  fast.aim_at_latency(0.01);
  const uint8_t depth = 2;
  for (int i = 0; i < 10; ++i) {
    slow.note({&depth, 1}, 0.015);
    fast.note({&depth, 1}, 0.005);
  }
  EXPECT_GT(slow.shift(), 1);
  EXPECT_LT(fast.shift(), -1);
}

// A token takes kFixed + kPass * depth milliseconds, times `slower`; the target lies at two passes of
// three.
class Timed {
 public:
  Timed(const ModelPlan& plan, float scale, float offset)
      : controller_(plan), scale_(scale), offset_(offset) {
    controller_.aim_at_latency(kTarget / 1000);
  }

  // Mean milliseconds of the next tokens.
  double run(int tokens, double slower = 1) {
    double sum = 0;
    for (int t = 0; t < tokens; ++t, ++token_) {
      uint8_t depth = 1;
      for (uint64_t r = 1; r <= 2 && normal(1, r, token_) * scale_ + offset_ >= controller_.shift(); ++r)
        ++depth;
      const double time = slower * (kFixed + kPass * depth);
      controller_.note({&depth, 1}, time / 1000);
      sum += time;
    }
    return sum / tokens;
  }
  float shift() const { return controller_.shift(); }

  static constexpr double kFixed = 2, kPass = 1, kTarget = kFixed + 2 * kPass;

 private:
  DepthController controller_;
  float scale_, offset_;
  uint64_t token_ = 0;
};

TEST(DepthController, MeetsATimeWhateverTheScoresLookLike) {
  const ModelPlan plan = plan_of("mor-middle_cycle-nr3");
  for (float scale : {0.3F, 1.0F, 5.0F}) {
    for (float offset : {-4.0F, 0.0F, 4.0F}) {
      Timed timed(plan, scale, offset);
      const int tokens = 400;
      const double mean = timed.run(tokens);
      // A share of 2 / tokens for each step that the shift went, which is little once it is there.
      EXPECT_NEAR(mean / Timed::kTarget, 1, 2 * std::fabs(timed.shift()) / tokens + 1e-6) << scale << offset;
      EXPECT_NEAR(timed.run(tokens) / Timed::kTarget, 1, 0.02) << scale << offset;
    }
  }
}

// Five hundred tokens that no depth makes fast enough, or slow enough, leave a shift a little beyond the
// scores: their number is forgotten.
TEST(DepthController, RecoversFromAnyNumberOfTokensThatMissTheTime) {
  const ModelPlan plan = plan_of("mor-middle_cycle-nr3");
  for (double disturbance : {3.0, 0.3}) {
    for (int tokens : {50, 500, 5000}) {
      Timed timed(plan, 1, 0);
      timed.run(300);
      const double during = timed.run(tokens, disturbance);
      EXPECT_TRUE(disturbance > 1 ? during > Timed::kTarget : during < Timed::kTarget);
      EXPECT_LE(std::fabs(timed.shift()), 4 + 4) << disturbance << " " << tokens;
      timed.run(80);
      EXPECT_NEAR(timed.run(300) / Timed::kTarget, 1, 0.02) << disturbance << " " << tokens;
    }
  }
}

TEST(DepthController, WithoutATargetNothingMoves) {
  const ModelPlan plan = plan_of("mor-token");
  DepthController controller(plan);
  EXPECT_FALSE(controller.active());
  const uint8_t depth = 3;
  controller.note({&depth, 1}, 1.0);
  EXPECT_EQ(controller.shift(), 0);
}

}  // namespace
}  // namespace fathom
