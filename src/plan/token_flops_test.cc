#include "plan/token_flops.h"

#include <gtest/gtest.h>

#include "plan/count.h"
#include "plan/testing.h"
#include "plan/work.h"

namespace fathom {
namespace {

using namespace testing_plan;

double sum(TokenFlops flops, const std::vector<int32_t>& depths) {
  double total = 0;
  for (int32_t depth : depths) total += flops.next(depth);
  return total;
}

TEST(TokenFlops, AddUpToTheMeanOfPlansWhoseTokensAllGoTheSameWay) {
  ModelSpec shared = tiny_mor(Sharing::kMiddleCycle, 3);
  shared.kv = KvMode::kShared;
  for (const ModelSpec& spec :
       {tiny(), tiny_recursive(Sharing::kCycle, 2), tiny_mor(Sharing::kMiddleCycle, 3),
        tiny_mor(Sharing::kCycle, 2), shared, hybrid("sambay", 8)}) {
    const ModelPlan plan = *build_plan(spec);
    const int32_t most = std::max(1, most_passes(plan));
    const std::vector<double> all(static_cast<size_t>(most), 1.0);
    constexpr int64_t kTokens = 90;
    const double expected = kTokens * count_flops(with_depth_shares(plan, all), kTokens).total();
    EXPECT_NEAR(sum(TokenFlops(plan), std::vector<int32_t>(kTokens, most)), expected, 1e-9 * expected);
  }
}

TEST(TokenFlops, ATokenPaysForItsPassesAndTheQuestionAfterThem) {
  const ModelPlan plan = *build_plan(tiny_mor(Sharing::kMiddleCycle, 3));
  TokenFlops flops(plan);
  const double one = TokenFlops(plan).next(1), two = TokenFlops(plan).next(2),
               three = TokenFlops(plan).next(3);
  // A pass of the block and, for the second, the router before the third.
  const double router = 2.0 * plan.dims.hidden_size;
  EXPECT_DOUBLE_EQ(two - one, three - two + router);
  EXPECT_GT(three - two, 0);
  EXPECT_DOUBLE_EQ(flops.next(1), one);
  EXPECT_DOUBLE_EQ(flops.full(), three);
}

TEST(TokenFlops, KeysAreThoseOfTokensThatCameAsFar) {
  const ModelPlan own = *build_plan(tiny_mor(Sharing::kCycle, 2));
  ModelSpec spec = tiny_mor(Sharing::kCycle, 2);
  spec.kv = KvMode::kShared;
  const ModelPlan shared = *build_plan(spec);
  const auto last = [](const ModelPlan& plan, int32_t before) {
    TokenFlops flops(plan);
    for (int i = 0; i < 10; ++i) flops.next(before);
    return flops.next(2);
  };
  EXPECT_LT(last(own, 1), last(own, 2));
  EXPECT_DOUBLE_EQ(last(shared, 1), last(shared, 2));
}

}  // namespace
}  // namespace fathom
