#include "train/op_profile.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"

namespace fathom::train {
namespace {

void wait(double seconds) {
  SteadyClock clock;
  const double until = clock.seconds() + seconds;
  while (clock.seconds() < until) {
  }
}

double seconds_of(const OpProfile& profile, const char* op, OpPass pass) {
  return profile.times().at({op, pass}).seconds;
}

TEST(OpProfile, AnOpCountsItsOwnTimeOnly) {
  const OpProfile profile;
  for (int i = 0; i < 3; ++i) {
    const OpTimer outer("outer", OpPass::kForward);
    wait(0.001);
    const OpTimer inner("inner", OpPass::kForward);
    wait(0.01);
  }
  EXPECT_EQ(profile.times().at({"outer", OpPass::kForward}).calls, 3);
  EXPECT_GE(seconds_of(profile, "inner", OpPass::kForward), 0.03);
  EXPECT_GE(seconds_of(profile, "outer", OpPass::kForward), 0.003);
  EXPECT_EQ(profile.times().size(), 2U);
}

TEST(OpProfile, PassesAreApart) {
  const OpProfile profile;
  { const OpTimer timer("op", OpPass::kForward); }
  { const OpTimer timer("op", OpPass::kBackward); }
  EXPECT_EQ(profile.times().size(), 2U);
}

TEST(OpProfile, WithoutAProfileNothingIsCounted) {
  { const OpTimer timer("before", OpPass::kForward); }
  const OpProfile profile;
  EXPECT_TRUE(profile.times().empty());
}

TEST(OpProfile, ThereIsOneAtATime) {
  const OpProfile profile;
  EXPECT_THROW(OpProfile(), CheckFailure);
  { const OpTimer timer("op", OpPass::kForward); }
  EXPECT_EQ(profile.times().size(), 1U);
}

}  // namespace
}  // namespace fathom::train
