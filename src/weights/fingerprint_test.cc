#include "weights/fingerprint.h"

#include <gtest/gtest.h>

#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

TEST(Fingerprint, TellsModelsApart) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(testing_plan::hybrid("sambay", 8));
  const std::string one = fingerprint_of(plan, random_weights(plan, 1, DType::kF32, serial));
  EXPECT_EQ(one.size(), 64U);
  EXPECT_EQ(one, fingerprint_of(plan, random_weights(plan, 1, DType::kF32, serial)));
  EXPECT_NE(one, fingerprint_of(plan, random_weights(plan, 2, DType::kF32, serial)));
  EXPECT_NE(one, fingerprint_of(plan, random_weights(plan, 1, DType::kBF16, serial)));
  ModelSpec spec = plan.spec;
  spec.sliding_window += 1;
  const ModelPlan other = *build_plan(spec);
  EXPECT_NE(one, fingerprint_of(other, random_weights(other, 1, DType::kF32, serial)));
}

}  // namespace
}  // namespace fathom
