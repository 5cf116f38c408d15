// Thresholds keep what was trained: on the rows that they were measured on, causal routing takes as many
// tokens on as the capacities say.
#include "train/calibrate.h"

#include <ATen/core/grad_mode.h>

#include "train/testing.h"

namespace fathom::train {
namespace {

using testing::random_batch;
using testing::SmallModel;

std::vector<double> causal_shares(SmallModel& model, const std::vector<Batch>& batches) {
  Executor executor(model.plan, *model.parameters);
  ForwardOptions options;
  options.routing = Routing::kThreshold;
  std::vector<double> kept(static_cast<size_t>(most_passes(model.plan)));
  int64_t rows = 0;
  for (const Batch& batch : batches) {
    const ForwardResult result = executor.forward(batch, options);
    for (size_t r = 0; r < result.passes.size(); ++r)
      kept[r] += static_cast<double>(result.passes[r].kept.size());
    rows += batch.rows();
  }
  for (double& count : kept) count /= static_cast<double>(rows);
  return kept;
}

RouterSpec& router_of(ModelPlan& plan) {
  for (Segment& segment : plan.segments)
    if (segment.router) return segment.router->spec;
  throw std::runtime_error("no router");
}

TEST(CalibrateThresholds, CausalSharesAreTheCapacities) {
  const at::NoGradGuard no_graph;
  ModelSpec later = testing::routed_spec();  // the first pass is made all the same
  later.router->capacity = {0.75, 0.5, 0.125};
  ModelSpec tanh = testing::routed_spec();
  tanh.router->score = ScoreFunction::kTanh;
  for (const ModelSpec& spec : {testing::routed_spec(), later, tanh, testing::spec_named("mor-aux-router"),
                                testing::spec_named("mor-random"), testing::spec_named("mor-sambay")}) {
    SmallModel model = testing::small_model("routed", spec);
    ASSERT_TRUE(has_thresholds(model.plan));
    const std::vector<Batch> batches = {random_batch(model.plan, {40, 20}), random_batch(model.plan, {36})};
    Executor executor(model.plan, *model.parameters);
    // Whatever stood there before.
    std::ranges::fill(router_of(model.plan).threshold, 100.0);
    calibrate_thresholds(model.plan, executor, batches, Precision::kF32);
    const RouterSpec& router = router_of(model.plan);
    EXPECT_EQ(model.plan.spec.router->threshold, router.threshold);
    const std::vector<double> shares = causal_shares(model, batches);
    EXPECT_EQ(shares[0], 1);
    // To one row, which random scores need: they are equal where positions are.
    for (size_t r = 1; r < shares.size(); ++r)
      EXPECT_NEAR(shares[r], router.capacity[r], 1.0 / 96 + 1e-9) << r;
  }
}

TEST(CalibrateThresholds, TokenChoiceHasNone) {
  EXPECT_FALSE(has_thresholds(testing::small_model("token", testing::spec_named("mor-token")).plan));
  EXPECT_FALSE(has_thresholds(testing::small_model("llama", testing::spec_named("llama")).plan));
}

TEST(ReachedBy, LiesBetweenTheLogitsThatAreKeptAndTheOthers) {
  struct Case {
    std::vector<float> logits;
    int64_t keep = 0;
    double threshold = 0;
  };
  for (const Case& c : {
           Case{{1, 4, 2, 3}, 1, 3.5},  // in any order
           {{1, 4, 2, 3}, 2, 2.5},
           {{1, 4, 2, 3}, 4, 1 - 1e-4},  // all
           {{2, -200}, 2, -200.02},
           {{5}, 1, 5 - 5e-4},
           // Equal ones stay together: as near to `keep` as there is a gap, downwards first.
           {{3, 2, 2, 1}, 2, 1.5},
           {{4, 3, 3, 3, 3, 1}, 2, 3.5},
           {{4, 3, 3, 3, 3, 1}, 4, 2},
           {{2, 2, 1, 1}, 3, 1.5},
           {{2, 2, 2}, 1, 2 - 2e-4},
           // So do those that only roundings tell apart, whose size is that of the logits.
           {{1.00005F, 1, 0}, 1, 0.5},
           {{1.0005F, 1, 0}, 1, 1.00025},
           {{-20000, -20001, -30000}, 1, -25000.5},
       }) {
    EXPECT_NEAR(reached_by(c.logits, c.keep), c.threshold, 1e-6 * std::max(1.0, std::fabs(c.threshold)))
        << ::testing::PrintToString(c.logits) << ", keep " << c.keep;
  }
}

}  // namespace
}  // namespace fathom::train
