#include "kernels/router/router.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Kind {
  RouterScore score;
  int64_t outputs;
};

constexpr Kind kKinds[] = {{RouterScore::kSigmoid, 1},  {RouterScore::kTanh, 1},
                           {RouterScore::kIdentity, 1}, {RouterScore::kSigmoid, 3},
                           {RouterScore::kSoftmax, 1},  {RouterScore::kSoftmax, 4}};

struct Case {
  Case(int64_t n, int64_t d, Kind kind)
      : rows(n),
        dim(d),
        outputs(kind.outputs),
        score(kind.score),
        x(Buffer::normal(n * d, 1)),
        weight(Buffer::normal(outputs * d, 2, 0.3F)),
        grad_weights(Buffer::normal(n * outputs, 3)),
        grad_logits(Buffer::normal(n * outputs, 4)),
        logits(n * outputs),
        weights(n * outputs),
        grad_x(n * d),
        grad_weight(outputs * d),
        workspace(router_bwd_workspace(n, d, outputs)) {}
  RouterFwd fwd() {
    return {x.data(), weight.data(), logits.data(), weights.data(), rows, dim, outputs, 1.5F, 0.4F, score};
  }
  RouterBwd bwd() {
    return {x.data(),
            weight.data(),
            logits.data(),
            grad_weights.data(),
            grad_logits.data(),
            grad_x.data(),
            grad_weight.data(),
            workspace.data(),
            rows,
            dim,
            outputs,
            1.5F,
            0.4F,
            score};
  }
  int64_t rows, dim, outputs;
  RouterScore score;
  Buffer x, weight, grad_weights, grad_logits, logits, weights, grad_x, grad_weight, workspace;
};

TEST(Router, RefBackwardIsTheDerivativeOfForward) {
  for (Kind kind : kKinds) {
    Case c(4, 6, kind);
    router_fwd_ref(c.fwd());
    router_bwd_ref(c.bwd());
    const auto loss = [&] {
      router_fwd_ref(c.fwd());
      return testing::dot(c.weights, c.grad_weights) + testing::dot(c.logits, c.grad_logits);
    };
    testing::expect_gradient(c.x, c.grad_x, loss);
    testing::expect_gradient(c.weight, c.grad_weight, loss);
  }
}

TEST(Router, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Kind kind : kKinds) {
      for (int64_t dim : {1, 7, 64, 129}) {
        Case ref(150, dim, kind), cpu(150, dim, kind), alone(150, dim, kind);
        router_fwd_ref(ref.fwd());
        router_fwd_cpu(cpu.fwd(), pool);
        router_fwd_cpu(alone.fwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.logits, ref.logits), 1e-6);
        EXPECT_LE(testing::relative_error(cpu.weights, ref.weights), 1e-6);
        EXPECT_TRUE(testing::same_bits(cpu.logits, alone.logits));
        router_bwd_ref(ref.bwd());
        router_bwd_cpu(cpu.bwd(), pool);
        router_bwd_cpu(alone.bwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 2e-6);
        EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 2e-5);  // 150 rows cancel
        EXPECT_TRUE(testing::same_bits(cpu.grad_weight, alone.grad_weight));
      }
    }
  });
}

TEST(Router, SoftmaxSharesAlphaOut) {
  Case c(20, 9, {RouterScore::kSoftmax, 5});
  SerialParallel serial;
  router_fwd_cpu(c.fwd(), serial);
  for (int64_t r = 0; r < c.rows; ++r) {
    float total = 0;
    for (int64_t i = 0; i < c.outputs; ++i) total += c.weights[r * c.outputs + i];
    EXPECT_NEAR(total, 0.4F, 1e-6F);
  }
}

TEST(Router, AHugeLogitDoesNotOverflowSoftmax) {
  const std::vector<float> x = {1000, -1000}, weight = {1, 0, 0, 1, 0, 0};
  std::vector<float> logits(3), weights(3);
  SerialParallel serial;
  router_fwd_cpu(
      {x.data(), weight.data(), logits.data(), weights.data(), 1, 2, 3, 1, 1, RouterScore::kSoftmax}, serial);
  EXPECT_EQ(weights, (std::vector<float>{1, 0, 0}));
}

TEST(Router, ARowChoosesItsLargestScoreTheFirstAmongEquals) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> weights = {0.2F, 0.5F, 0.3F, 0.4F, 0.2F, 0.4F, nan, 0.1F, 0.1F, nan, nan, nan};
  std::vector<int32_t> chosen(4);
  router_choose_ref({weights.data(), nullptr, chosen.data(), 4, 3});
  EXPECT_EQ(chosen, (std::vector<int32_t>{1, 0, 1, 0}));
  const std::vector<float> bias = {0, -0.25F, 0.05F};
  router_choose_ref({weights.data(), bias.data(), chosen.data(), 4, 3});
  EXPECT_EQ(chosen, (std::vector<int32_t>{2, 2, 2, 0}));
}

TEST(Router, TopKOfEachSequenceAscending) {
  SerialParallel serial;
  const int64_t n = 500;
  Buffer weights(n), logits = Buffer::normal(n, 9);
  for (int64_t i = 0; i < n; ++i) weights[i] = std::round(logits[i] * 2) / 2;  // many ties
  const RowRange sequences[] = {{0, 100}, {100, 101}, {101, 500}};
  const int64_t keep[] = {37, 1, 200};
  std::vector<int32_t> ref(238), cpu(238), workspace(399);
  RouterTopK args{weights.data(), logits.data(), sequences, keep, 3, ref.data(), workspace.data()};
  router_top_k_ref(args);
  args.kept = cpu.data();
  router_top_k_cpu(args, serial);
  EXPECT_EQ(cpu, ref);
  for (size_t i = 1; i < cpu.size(); ++i) EXPECT_LT(cpu[i - 1], cpu[i]);
}

TEST(Router, AmongEqualsTheEarlierRowStays) {
  SerialParallel serial;
  const std::vector<float> same(6, 0.5F);
  const RowRange all{0, 6};
  const int64_t keep = 2;
  std::vector<int32_t> kept(2), workspace(6);
  router_top_k_cpu({same.data(), same.data(), &all, &keep, 1, kept.data(), workspace.data()}, serial);
  EXPECT_EQ(kept, (std::vector<int32_t>{0, 1}));
}

TEST(Router, AmongEqualWeightsTheLargerLogitStays) {
  SerialParallel serial;
  const std::vector<float> saturated(6, 0.1F), logits = {30, 31, 34, 33, 34, 32};
  const RowRange all{0, 6};
  const int64_t keep = 3;
  std::vector<int32_t> kept(3), workspace(6);
  router_top_k_cpu({saturated.data(), logits.data(), &all, &keep, 1, kept.data(), workspace.data()}, serial);
  EXPECT_EQ(kept, (std::vector<int32_t>{2, 3, 4}));
}

TEST(Router, NaNIsKeptLast) {
  SerialParallel serial;
  const int64_t n = 300;
  Buffer weights = Buffer::normal(n, 11);
  for (int64_t i = 0; i < n; i += 3) weights[i] = std::numeric_limits<float>::quiet_NaN();
  const RowRange all{0, n};
  for (int64_t keep : {0, 1, 57, 200, 230, 300}) {
    std::vector<int32_t> ref(static_cast<size_t>(keep)), cpu(ref.size()), workspace(300);
    RouterTopK args{weights.data(), weights.data(), &all, &keep, 1, ref.data(), workspace.data()};
    router_top_k_ref(args);
    args.kept = cpu.data();
    router_top_k_cpu(args, serial);
    EXPECT_EQ(cpu, ref) << keep;
    const auto unknown = std::count_if(cpu.begin(), cpu.end(), [](int32_t r) { return r % 3 == 0; });
    EXPECT_EQ(unknown, std::max<int64_t>(0, keep - 200)) << keep;
  }
}

TEST(Router, BceIsTheCrossEntropyOfTheDecision) {
  Buffer logits = Buffer::normal(5, 1), grad(5), ones(1, 1.0F);
  const int32_t kept[] = {1, 4};
  double loss = 0;
  router_bce_ref({logits.data(), kept, 5, 2, 0.25F, &loss, grad.data()});
  double expected = 0;
  for (int64_t r = 0; r < 5; ++r) {
    const double p = 1 / (1 + std::exp(-double{logits[r]}));
    expected -= 0.25 * std::log(r == 1 || r == 4 ? p : 1 - p);
  }
  EXPECT_NEAR(loss, expected, 1e-12);
  testing::expect_gradient(logits, grad, [&] {
    router_bce_ref({logits.data(), kept, 5, 2, 0.25F, &loss, nullptr});
    return loss;
  });
}

TEST(Router, CapacityIsTheFloorAndAtLeastOne) {
  EXPECT_EQ(router_capacity(1.0, 512, 512), 512);
  EXPECT_EQ(router_capacity(0.6666666666666666, 512, 512), 341);
  EXPECT_EQ(router_capacity(0.3333333333333333, 512, 341), 170);
  EXPECT_EQ(router_capacity(0.75, 17, 17), 12);
  EXPECT_EQ(router_capacity(0.25, 3, 3), 1);
  EXPECT_EQ(router_capacity(1.0, 8, 5), 5);
  EXPECT_EQ(router_capacity(0.29, 100, 100), 28);  // 0.29 * 100 = 28.999999999999996 in double
  EXPECT_EQ(router_capacity(0.5, 8, 0), 0);
  EXPECT_EQ(router_capacity(1e300, 8, 5), 5);
}

}  // namespace
}  // namespace fathom::kernels
