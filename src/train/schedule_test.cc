#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace fathom::train {
namespace {

TEST(Schedule, TrapezoidOfTheTrainedMorModels) {
  const Schedule wsd{ScheduleKind::kWsd, 0.003, 1250, 62, 250, 0};
  EXPECT_EQ(wsd.at(0), 0);
  EXPECT_DOUBLE_EQ(wsd.at(31), 0.0015);
  EXPECT_DOUBLE_EQ(wsd.at(62), 0.003);
  EXPECT_DOUBLE_EQ(wsd.at(999), 0.003);
  EXPECT_DOUBLE_EQ(wsd.at(1000), 0.003);
  EXPECT_DOUBLE_EQ(wsd.at(1125), 0.0015);
  EXPECT_DOUBLE_EQ(wsd.at(1249), 0.003 * (1.0 - 249.0 / 250.0));
}

TEST(Schedule, LinearDecayOfTheTrainedSambaY) {
  const Schedule linear{ScheduleKind::kLinear, 0.001, 1300, 65, 0, 0};
  EXPECT_DOUBLE_EQ(linear.at(13), 0.001 * 13 / 65);
  EXPECT_DOUBLE_EQ(linear.at(65), 0.001);
  EXPECT_DOUBLE_EQ(linear.at(665), 0.001 * (1.0 - 600.0 / 1235.0));
}

TEST(Schedule, CosineFallsFromPeakToItsFinalRatio) {
  const Schedule cosine{ScheduleKind::kCosine, 1, 110, 10, 0, 0.1};
  EXPECT_DOUBLE_EQ(cosine.at(10), 1);
  EXPECT_DOUBLE_EQ(cosine.at(60), 0.55);
  EXPECT_DOUBLE_EQ(cosine.at(110), 0.1);
  EXPECT_DOUBLE_EQ(cosine.at(500), 0.1);
}

TEST(Schedule, TrapezoidsComeDownByTheirShape) {
  Schedule wsd{ScheduleKind::kWsd, 1, 20, 4, 5, 0.2, DecayShape::kOneMinusSqrt};
  EXPECT_DOUBLE_EQ(wsd.at(14), 1);
  EXPECT_DOUBLE_EQ(wsd.at(15), 1);
  EXPECT_DOUBLE_EQ(wsd.at(16), 0.2 + 0.8 * (1 - std::sqrt(0.2)));
  wsd.decay_shape = DecayShape::kCosine;
  EXPECT_DOUBLE_EQ(wsd.at(16), 0.2 + 0.8 * 0.5 * (1 + std::cos(std::numbers::pi * 0.2)));
  EXPECT_DOUBLE_EQ(wsd.at(20), 0.2);
}

// Decoder-Hybrid-Decoder, code: with A micro-batches the first step has the rate of iteration A - 1.
TEST(Schedule, AStepHasTheRateOfItsLastMicroBatch) {
  Schedule linear{ScheduleKind::kLinear, 1, 20, 2, 0, 0};
  EXPECT_EQ(linear.of_step(0, 4), 0);
  linear.per_micro_batch = true;
  EXPECT_DOUBLE_EQ(linear.of_step(0, 4), 3.0 / 8);
  EXPECT_DOUBLE_EQ(linear.of_step(1, 4), 7.0 / 8);
  EXPECT_DOUBLE_EQ(linear.of_step(3, 4), 1 - (15.0 - 8) / 72);
  EXPECT_EQ(linear.of_step(0, 1), 0);
}

TEST(Schedule, NamesRoundTripAndOthersAreRefused) {
  for (const char* name : {"constant", "linear", "cosine", "wsd"})
    EXPECT_STREQ(name_of(*parse_schedule(name)), name);
  EXPECT_EQ(parse_schedule("step").error().message,
            "unknown schedule \"step\", expected constant, linear, cosine or wsd");
}

}  // namespace
}  // namespace fathom::train
