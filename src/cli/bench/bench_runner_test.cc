// What a runner reports is what the plan says the engine had to do. No bound on a time.
#include "cli/bench/runner.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cli/bench/row.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::cli::bench {
namespace {

using namespace testing_plan;

constexpr int64_t kProbeBytes = int64_t{4} << 20;  // here only whether there is a rate matters

BenchModel model_of(const ModelSpec& spec, Parallel& parallel) {
  BenchModel model{.name = spec.architecture, .given = "-"};
  model.plan = *build_plan(spec);
  model.weights = std::make_unique<const Weights>(random_weights(model.plan, 1, DType::kF32, parallel));
  model.random = true;
  return model;
}

void expect_sound(const Repetition& run) {
  for (double value : {run.seconds, run.read_peak, run.gemm_peak})
    EXPECT_TRUE(std::isfinite(value) && value > 0);
}

TEST(BenchRunner, CountsWhatThePlanSays) {
  ThreadPool pool(2);
  SteadyClock clock;
  kernels::ReadProbe probe(kProbeBytes, pool, clock);
  for (const ModelSpec& spec : {tiny(), hybrid("sambay", 8)}) {
    SCOPED_TRACE(spec.architecture);
    const BenchModel model = model_of(spec, pool);
    const std::vector<Workload> work = workloads({20}, {3}, {0, 17});
    Runner runner(model, work, {.matrix_type = DType::kF32, .kv_type = DType::kBF16, .chunk = 8}, probe, pool,
                  clock);
    runner.warm_up();
    runner.round();
    runner.round();
    runner.profile();
    ASSERT_EQ(runner.measurements().size(), 4U);
    for (size_t i = 0; i < work.size(); ++i) {
      const Measurement& m = runner.measurements()[i];
      SCOPED_TRACE(m.workload.name());
      EXPECT_EQ(m.workload.name(), work[i].name());
      ASSERT_EQ(m.repetitions.size(), 2U);
      for (const Repetition& run : m.repetitions) expect_sound(run);
      const int64_t begin = work[i].depth, end = work[i].end();
      const int64_t logit_rows = work[i].decodes() ? 3 : 1;
      EXPECT_DOUBLE_EQ(m.flops.total(), count_prefill_work(model.plan, begin, end, logit_rows).total());
      EXPECT_FALSE(m.mean_depth.has_value());
      if (work[i].decodes()) {
        EXPECT_EQ(m.bytes.total(),
                  count_decode_bytes(model.plan, begin, end, DType::kF32, DType::kBF16).total());
      }
      ASSERT_TRUE(m.profile.has_value());
      expect_sound(m.profile->run);
      double seen = 0;
      for (const OpProfile::Entry& op : m.profile->ops) seen += op.seconds;
      EXPECT_GT(seen, 0);
      EXPECT_LE(seen, m.profile->run.seconds);
      EXPECT_EQ(m.profile->ops[static_cast<size_t>(EngineOp::kHead)].calls, logit_rows);
    }
  }
}

TEST(BenchRunner, CountsTheDepthsThatRoutedTokensReached) {
  ThreadPool pool(2);
  SteadyClock clock;
  kernels::ReadProbe probe(kProbeBytes, pool, clock);
  ModelSpec spec = tiny_mor(Sharing::kMiddleCycle, 3);
  for (DepthFill fill : {DepthFill::kPrefill, DepthFill::kRandom}) {
    // Nobody reaches the first threshold, everybody the second.
    for (double threshold : {1e9, -1e9}) {
      spec.router->threshold = {0, threshold, threshold};
      const BenchModel model = model_of(spec, pool);
      const std::vector<Workload> work = workloads({12}, {2}, {9});
      Runner runner(model, work, {.matrix_type = DType::kF32, .fill = fill}, probe, pool, clock);
      runner.warm_up();
      runner.round();
      const bool all = threshold < 0;
      const std::vector<double> shares = all ? std::vector<double>{1, 1, 1} : std::vector<double>{1};
      const ModelPlan met = with_depth_shares(model.plan, shares);
      for (const Measurement& m : runner.measurements()) {
        EXPECT_EQ(m.mean_depth, all ? 3.0 : 1.0);
        const int64_t logit_rows = m.workload.decodes() ? 2 : 1;
        EXPECT_DOUBLE_EQ(m.flops.total(), count_prefill_work(met, 9, m.workload.end(), logit_rows).total());
      }
    }
  }
}

// Sequences side by side read the matrices once, and each its own keys and values.
TEST(BenchRunner, CountsWhatSequencesOfACallShare) {
  ThreadPool pool(2);
  SteadyClock clock;
  kernels::ReadProbe probe(kProbeBytes, pool, clock);
  ModelSpec routed = tiny_mor(Sharing::kMiddleCycle, 3);
  routed.router->threshold = {0, 0, 0};
  for (const ModelSpec& spec : {tiny(), hybrid("sambay", 8), routed}) {
    SCOPED_TRACE(spec.architecture);
    const BenchModel model = model_of(spec, pool);
    const std::vector<Workload> work = workloads({}, {4}, {0, 9}, {1, 5});
    ASSERT_EQ(work.size(), 4U);
    EXPECT_EQ(work[3].name(), "tg4 x5 @ d9");
    Runner runner(model, work, {.matrix_type = DType::kF32, .kv_type = DType::kBF16}, probe, pool, clock);
    runner.warm_up();
    runner.round();
    for (size_t i = 0; i < work.size(); i += 2) {
      const Measurement &alone = runner.measurements()[i], &many = runner.measurements()[i + 1];
      EXPECT_EQ(many.workload.tokens(), 5 * alone.workload.tokens());
      if (spec.router) {
        EXPECT_GE(*many.mean_depth, 1);
        EXPECT_LE(*many.mean_depth, 3);
        // Between what a token of one pass and one of three would share.
        EXPECT_LT(many.bytes.products, alone.bytes.products);
        continue;
      }
      EXPECT_NEAR(many.flops.total(), 5 * alone.flops.total(), 1e-6 * many.flops.total());
      EXPECT_NEAR(many.bytes.weights(), alone.bytes.weights() / 5, 1e-6 * alone.bytes.weights());
      EXPECT_EQ(many.bytes.kv, alone.bytes.kv);
      EXPECT_EQ(many.bytes.state(), alone.bytes.state());
    }
  }
  EXPECT_GT(runner_bytes(*build_plan(tiny()), workloads({}, {4}, {9}, {5}), {}),
            runner_bytes(*build_plan(tiny()), workloads({}, {4}, {9}, {1}), {}));
}

TEST(BenchRunner, AsksForTheMemoryOfItsStates) {
  const ModelPlan plan = *build_plan(tiny());
  const RunnerOptions options{.matrix_type = DType::kF32, .kv_type = DType::kF32};
  const int64_t shallow = runner_bytes(plan, workloads({}, {8}, {0}), options);
  const int64_t deep = runner_bytes(plan, workloads({}, {8}, {1'000'000}),
                                    {.kv_type = DType::kF32, .fill = DepthFill::kRandom});
  // Two states of a million entries: 8 layers, key and value, 2 heads of 8 floats.
  EXPECT_NEAR(static_cast<double>(deep - shallow), 2e6 * 8 * 2 * 2 * 8 * 4, 1e5);
}

}  // namespace
}  // namespace fathom::cli::bench
