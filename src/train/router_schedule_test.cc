// What a forward call of training draws, and what its routers make of it.
#include "train/router_schedule.h"

#include <algorithm>
#include <set>

#include "train/testing.h"

namespace fathom::train {
namespace {

ModelSpec with_range() {
  ModelSpec spec = testing::routed_spec();
  spec.router->capacity = {1, 0.9, 0.8};
  spec.router->capacity_low = {1, 0.3, 0.1};
  return spec;
}

double drawn_by(const ModelPlan& plan, uint64_t seed, int64_t call) {
  ForwardOptions options;
  options.capacity_draw = 0.5;  // of the call before
  draw_capacities(plan, seed, call, options);
  return options.capacity_draw;
}

TEST(DrawCapacities, IsAFunctionOfSeedAndCallAlone) {
  const testing::SmallModel model = testing::small_model("range", with_range());
  std::set<double> drawn;
  double sum = 0;
  for (int64_t call = 1; call <= 400; ++call) {
    const double here = drawn_by(model.plan, 3, call);
    EXPECT_EQ(here, drawn_by(model.plan, 3, call));
    EXPECT_GE(here, 0);
    EXPECT_LT(here, 1);
    drawn.insert(here);
    sum += here;
  }
  EXPECT_GT(drawn.size(), 390U);
  EXPECT_NEAR(sum / 400, 0.5, 0.05);
  EXPECT_NE(drawn_by(model.plan, 3, 1), drawn_by(model.plan, 4, 1));
}

TEST(DrawCapacities, DrawsNothingWithoutARange) {
  const testing::SmallModel model = testing::small_model("fixed", testing::routed_spec());
  EXPECT_EQ(drawn_by(model.plan, 3, 7), 0);
}

TEST(DrawCapacities, DecidesHowManyRowsEachPassKeeps) {
  const testing::SmallModel model = testing::small_model("range", with_range());
  Executor executor(model.plan, *model.parameters);
  const Batch batch = testing::random_batch(model.plan, {40});
  const auto kept = [&](double draw) {
    ForwardOptions options;
    options.capacity_draw = draw;
    std::vector<size_t> counts;
    for (const RoutedPass& pass : executor.forward(batch, options).passes) counts.push_back(pass.kept.size());
    return counts;
  };
  EXPECT_EQ(kept(0), (std::vector<size_t>{40, 36, 32}));
  EXPECT_EQ(kept(0.5), (std::vector<size_t>{40, 24, 18}));
  EXPECT_EQ(kept(0.99), (std::vector<size_t>{40, 12, 4}));
}

// Moves of the biases after a step of micro-batches with these loads.
std::vector<float> moves_after(const std::vector<std::vector<float>>& loads) {
  ModelSpec spec = testing::spec_named("mor-token-loss-free");
  spec.num_recursion = 3;
  spec.num_hidden_layers = 8;
  spec.router->bias_update = 0.5;
  testing::SmallModel model = testing::small_model("loss-free", spec);
  std::span<float> bias;
  for (const Segment& segment : model.plan.segments) {
    if (segment.router) bias = model.parameters->values(segment.router->bias.at(0));
  }
  std::ranges::fill(bias, 0.0F);
  LoadBalancer balancer(model.plan, *model.parameters);
  for (const std::vector<float>& load : loads) {
    ForwardResult result;
    result.choice.emplace();
    result.choice->load = load;
    balancer.note(result);
  }
  balancer.update();
  return {bias.begin(), bias.end()};
}

// Shares of 12 rows, as token choice counts them.
std::vector<float> shares(const std::vector<int>& counts) {
  std::vector<float> load;
  for (int count : counts) load.push_back(static_cast<float>(count) / 12.0F);
  return load;
}

TEST(LoadBalancer, MovesEveryBiasTowardsItsShareAndNoneThatIsThere) {
  EXPECT_EQ(moves_after({shares({6, 2, 4})}), (std::vector<float>{-0.5F, 0.5F, 0}));
  EXPECT_EQ(moves_after({shares({4, 4, 4})}), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(moves_after({shares({7, 4, 1}), shares({5, 4, 3})}), (std::vector<float>{-0.5F, 0, 0.5F}));
  // What counts is the step, of which neither call was even.
  EXPECT_EQ(moves_after({shares({6, 4, 2}), shares({2, 4, 6})}), (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace fathom::train
