#include "plan/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/count.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Describe, EveryLayerIsARowAndTotalsAreTheCounts) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const std::string text = describe(plan, 64, DType::kBF16);
  for (const char* words :
       {"mem.4", "kv.5", "gated memory", "cross-attention", "prefill shortcut   from layer 6"})
    EXPECT_THAT(text, HasSubstr(words));
  const nlohmann::json json = nlohmann::json::parse(describe_json(plan, 64, DType::kBF16));
  ASSERT_EQ(json["layers"].size(), 8U);
  int64_t parameters = json["parameters"]["embedding"].get<int64_t>() + plan.dims.hidden_size;
  double flops = 0;
  int64_t per_sequence = 0;
  for (const auto& layer : json["layers"]) {
    parameters += layer["parameters"].get<int64_t>();
    flops += layer["flops_per_token"].get<double>();
    per_sequence += layer["state_bytes_per_sequence"].get<int64_t>();
  }
  EXPECT_EQ(parameters, count_parameters(plan).unique);
  EXPECT_NEAR(flops + count_flops(plan, 64).head, count_flops(plan, 64).total(), 1e-6);
  EXPECT_EQ(per_sequence, count_state(plan, DType::kBF16).per_sequence);
  EXPECT_EQ(json["prefill_shortcut"]["layer"], 6);
  EXPECT_FALSE(json["flops_per_token"].contains("paper"));
}

TEST(Describe, RecursionIsOneRowThatAddsItsDepths) {
  const ModelPlan plan = *build_plan(tiny_mor(Sharing::kMiddleCycle, 3));
  const nlohmann::json json = nlohmann::json::parse(describe_json(plan, 64, DType::kF32));
  ASSERT_EQ(json["layers"].size(), 4U);
  EXPECT_EQ(json["layers"][1]["depths"], 3);
  EXPECT_EQ(json["layers"][1]["routed"], true);
  EXPECT_EQ(json["layers"][1]["state_bytes_per_token"],
            2 * json["layers"][0]["state_bytes_per_token"].get<int>());
  EXPECT_TRUE(json["prefill_shortcut"].is_null());
  EXPECT_EQ(json["flops_per_token"]["paper"], paper_flops(plan, 64));
  EXPECT_THAT(describe(plan, 64, DType::kF32), HasSubstr("x3 routed"));
}

TEST(Describe, SaysThatACrossDecoderRecursWithoutState) {
  ModelSpec spec = hybrid("sambay", 12);
  spec.sharing = Sharing::kCycle;
  spec.num_recursion = 2;
  constexpr const char* kLine = "state of recursions  none: their layers write no slot\n";
  EXPECT_THAT(describe(*build_plan(spec), 64, DType::kF32), HasSubstr(kLine));
  spec.sharing = Sharing::kNone;
  spec.num_recursion = 1;
  EXPECT_THAT(describe(*build_plan(spec), 64, DType::kF32), Not(HasSubstr(kLine)));
  EXPECT_THAT(describe(*build_plan(tiny_mor(Sharing::kMiddleCycle, 3)), 64, DType::kF32),
              Not(HasSubstr(kLine)));
}

TEST(Describe, ListsParametersAndTensors) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  EXPECT_THAT(describe_params(plan), HasSubstr("layers.0.mamba.a_log"));
  const std::string tensors = describe_tensors(plan);
  EXPECT_THAT(tensors, HasSubstr("layers.1.attention.q + layers.1.attention.k + layers.1.attention.v\n"));
  EXPECT_THAT(tensors, HasSubstr("(also lm_head.weight)"));
}

}  // namespace
}  // namespace fathom
