#include "plan/iso_flops.h"

#include <gtest/gtest.h>

#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

ModelSpec built_in(const std::string& name) {
  return *load_spec(std::string(FATHOM_SOURCE_DIR) + "/configs/models/" + name + ".toml");
}

BudgetedRun run_of(const ModelSpec& spec, double flops = 16.5e18) {
  FlopBudget budget;
  budget.flops = flops;
  Result<BudgetedRun> run = plan_budget(*build_plan(spec), budget);
  EXPECT_TRUE(run.ok()) << run.error().message;
  return *run;
}

// Mixture-of-Recursions 6.2 and 6.4. The released configuration of three recursions has one step more than
// its budget makes to any rounding that also gives 9438 of 9438.15.
TEST(IsoFlops, EqualsTheReleasedConfigurations) {
  ModelSpec shared = built_in("mor-360m-nr3");
  shared.kv = KvMode::kShared;
  struct Row {
    ModelSpec spec;
    int64_t steps, decay;
    int64_t released;
  };
  const Row rows[] = {
      {built_in("smollm-360m"), 9438, 1888, 9438},        {built_in("recursive-360m-nr2"), 9438, 1888, 9438},
      {built_in("recursive-360m-nr3"), 9438, 1888, 9438}, {built_in("recursive-360m-nr4"), 8883, 1777, 8883},
      {built_in("mor-360m-nr2"), 12619, 2524, 12619},     {built_in("mor-360m-nr3"), 14160, 2832, 14161},
      {built_in("mor-360m-nr4"), 14216, 2843, 14216},     {shared, 14672, 2934, 14672}};
  for (const Row& row : rows) {
    const BudgetedRun run = run_of(row.spec);
    EXPECT_EQ(run.steps, row.steps);
    EXPECT_EQ(run.decay_steps, row.decay);
    EXPECT_NEAR(run.exact_steps, static_cast<double>(row.released), 1);
    EXPECT_EQ(run.tokens, row.steps * 2097152);
  }
}

// The released runs without a router took the warm-up of the vanilla model, those with one that of three
// recursions.
TEST(IsoFlops, WarmUpIsOfTheSmallestBudget) {
  EXPECT_EQ(run_of(built_in("smollm-360m")).warmup_steps, 57);
  EXPECT_EQ(run_of(built_in("mor-360m-nr3")).warmup_steps, 86);
  EXPECT_EQ(run_of(built_in("mor-360m-nr4")).warmup_steps, 86);
  EXPECT_EQ(run_of(built_in("smollm-360m"), 2e18).warmup_steps, 57);
  EXPECT_EQ(run_of(built_in("smollm-360m"), 2e18).steps, 1144);
  EXPECT_EQ(run_of(built_in("smollm-360m"), 1e18).warmup_steps, 29);
}

TEST(IsoFlops, TwiceTheBatchMakesHalfTheSteps) {
  const ModelPlan plan = *build_plan(built_in("smollm-135m"));
  const BudgetedRun one = *plan_budget(plan, {.flops = 1e18, .batch_tokens = 1 << 20});
  const BudgetedRun two = *plan_budget(plan, {.flops = 1e18, .batch_tokens = 1 << 21});
  EXPECT_DOUBLE_EQ(one.exact_steps, 2 * two.exact_steps);
  const BudgetedRun longer = *plan_budget(plan, {.flops = 1e18, .sequence_length = 8192});
  EXPECT_GT(longer.flops_per_token, two.flops_per_token);
}

TEST(IsoFlops, RefusesWhatTheAccountingDoesNotCover) {
  EXPECT_EQ(plan_budget(*build_plan(built_in("sambay-d8")), {}).error().message,
            "the accounting of iso-FLOP budgets covers layers of full self-attention, found another kind");
  const ModelPlan plan = *build_plan(tiny());
  EXPECT_TRUE(plan_budget(plan, {.flops = 1e3})
                  .error()
                  .message.starts_with("a budget of 1000 operations makes no step of "));
  EXPECT_EQ(plan_budget(plan, {.flops = 1e30, .batch_tokens = 1}).ok(), false);
}

}  // namespace
}  // namespace fathom
