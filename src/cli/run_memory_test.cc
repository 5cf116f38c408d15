#include "cli/run_memory.h"

#include <gtest/gtest.h>

#include "engine/executor.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::cli {
namespace {

using namespace testing_plan;

TEST(RunMemory, IsAboutWhatARunAllocates) {
  SerialParallel serial;
  for (const ModelSpec& spec : {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8),
                                hybrid("sambayda", 8), hybrid("phi4flash", 8)}) {
    const ModelPlan plan = *build_plan(spec);
    const Weights weights = random_weights(plan, 5, DType::kF32, serial);
    for (const auto& [context, rows] : {std::pair<int64_t, int64_t>{50'000, 4}, {4000, 4000}}) {
      const Executor executor(plan, weights, rows, context, serial);
      const auto allocated =
          static_cast<double>(executor.make_state(DType::kBF16).bytes() + executor.scratch_bytes());
      const auto counted = static_cast<double>(run_bytes(plan, context, rows, DType::kBF16));
      EXPECT_GT(counted, 0.5 * allocated) << spec.architecture << " " << context;
      EXPECT_LT(counted, 2.5 * allocated) << spec.architecture << " " << context;
    }
  }
}

TEST(RunMemory, ThatIsNotThereIsRefusedInOneSentence) {
  const ModelPlan plan = *build_plan(tiny());
  const int64_t bytes = run_bytes(plan, kMostContext, 256, DType::kF32);
  EXPECT_GT(bytes, state_bytes(plan, kMostContext, 256, DType::kF32));
  EXPECT_TRUE(check_run_memory("m", plan, kMostContext, 256, DType::kF32, bytes).ok());
  EXPECT_TRUE(check_run_memory("m", plan, kMostContext, 256, DType::kF32, std::nullopt).ok());
  const Status status = check_run_memory("m", plan, kMostContext, 256, DType::kF32, bytes - 1);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            "m: a context of 1073741824 tokens, in calls of up to 256 rows, needs about " +
                std::to_string(bytes >> 20) + " MiB beside the weights, but " +
                std::to_string((bytes - 1) >> 20) + " MiB are free; use a smaller --context or --chunk");
}

TEST(RunMemory, OfSeveralExecutorsAndStatesIsTheirSum) {
  const ModelPlan plan = *build_plan(tiny());
  const RunShape shapes[] = {{.context = 9000, .rows = 16, .states = 3}, {.context = 500, .rows = 500}};
  const int64_t bytes = run_bytes(plan, shapes, DType::kF32);
  EXPECT_EQ(bytes, run_bytes(plan, 9000, 16, DType::kF32) + 2 * state_bytes(plan, 9000, 16, DType::kF32) +
                       run_bytes(plan, 500, 500, DType::kF32));
  EXPECT_TRUE(check_run_memory("m", plan, shapes, DType::kF32, "--chunk", bytes).ok());
  const Status status = check_run_memory("m", plan, shapes, DType::kF32, "--chunk", bytes - 1);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "m: a context of 9000 tokens, in calls of up to 500 rows, needs about " +
                                        std::to_string(bytes >> 20) + " MiB beside the weights, but " +
                                        std::to_string((bytes - 1) >> 20) +
                                        " MiB are free; use a smaller --chunk");
}

TEST(RunMemory, OfStatesIsWhatIsAskedForOrFourFifthsOfWhatIsFree) {
  const ModelPlan plan = *build_plan(tiny());
  const int64_t scratch = run_bytes(plan, 500, 16, DType::kF32) - state_bytes(plan, 500, 16, DType::kF32);
  EXPECT_EQ(*state_budget(plan, 500, 16, DType::kF32, 0, scratch + 1000), 800);
  EXPECT_EQ(*state_budget(plan, 500, 16, DType::kF32, 0, scratch - 1000), 0);
  EXPECT_EQ(*state_budget(plan, 500, 16, DType::kF32, 0, std::nullopt), int64_t{1} << 30);
  EXPECT_EQ(*state_budget(plan, 500, 16, DType::kF32, 1000, scratch + 1000), 1000);
  EXPECT_FALSE(state_budget(plan, 500, 16, DType::kF32, 1001, scratch + 1000).ok());
  EXPECT_FALSE(state_budget(plan, 500, 16, DType::kF32, UINT64_MAX, scratch + 1000).ok());
}

// Of a model larger than those there are.
TEST(RunMemory, OfTheMostThatFlagsAllowFits64Bits) {
  ModelSpec spec = tiny();
  spec.hidden_size = 16384;
  spec.num_hidden_layers = 256;
  spec.num_attention_heads = spec.num_key_value_heads = 128;
  spec.head_dim = 128;
  const ModelPlan plan = *build_plan(spec);
  const int64_t bytes = run_bytes(plan, kMostContext, kMostChunk, DType::kF32);
  EXPECT_GT(bytes, kMostContext * 2 * 16384 * 4 * 256);
}

}  // namespace
}  // namespace fathom::cli
