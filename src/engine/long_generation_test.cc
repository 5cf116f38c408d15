// Thirty-two thousand tokens in one go: nothing grows but the pages of the one full cache.
#include <gtest/gtest.h>

#include "base/testing.h"
#include "engine/generate.h"
#include "plan/spec_io.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

TEST(LongGeneration, OfThirtyTwoThousandTokensKeepsItsMemory) {
  constexpr int64_t kTokens = 32768;
  const ModelPlan plan = *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/sambayda.toml"));
  SerialParallel serial;
  const Weights weights = random_weights(plan, 1, DType::kBF16, serial);
  Executor executor(plan, weights, 4, kTokens + 4, serial);
  SequenceState state = executor.make_state(DType::kBF16);
  const int64_t bytes = state.bytes(), scratch = executor.scratch_bytes();
  EXPECT_EQ(bytes, state_bytes(plan, kTokens + 4, 4, DType::kBF16));

  Generator generator(executor, plan, 4);
  GenerateRequest request;
  const std::vector<int32_t> prompt = {1, 2, 3, 4};
  request.prompt = prompt;
  request.max_tokens = kTokens;
  int64_t made = 0, early = 0;
  const GenerateResult result = *generator.run(state, request, [&](const GeneratedToken&) {
    if (++made == 1000) early = testing::resident_bytes();
    return true;
  });
  EXPECT_EQ(static_cast<int64_t>(result.tokens.size()), kTokens);
  EXPECT_EQ(state.bytes(), bytes);
  EXPECT_EQ(executor.scratch_bytes(), scratch);
  // The state's pages come as they are written; beside them nothing, with room for the allocator's own.
  EXPECT_GT(early, 0);
  EXPECT_LT(testing::resident_bytes() - early, bytes + (int64_t{1} << 20));
}

}  // namespace
}  // namespace fathom
