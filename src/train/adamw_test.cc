#include "train/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace fathom::train {
namespace {

struct Tensor {
  explicit Tensor(int64_t count) : param(count), grad(count), first(count), second(count) {
    for (size_t i = 0; i < param.size(); ++i) {
      param[i] = normal(1, 1, i);
      grad[i] = normal(1, 2, i);
    }
  }
  AdamWTensor view(double rate, double decay) {
    return {param.data(), grad.data(), first.data(), second.data(), static_cast<int64_t>(param.size()),
            rate,         decay};
  }
  std::vector<float> param, grad, first, second;
};

TEST(AdamW, TheFirstUpdateMovesByTheLearningRate) {
  Tensor t(5);
  const std::vector<float> before = t.param;
  SerialParallel serial;
  adamw_update(t.view(0.01, 0), {0.9, 0.95, 0}, 1, serial);
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(t.param[i] - before[i], t.grad[i] > 0 ? -0.01 : 0.01, 1e-6);
}

TEST(AdamW, FollowsTheFormulaOverManyUpdates) {
  Tensor t(3);
  const AdamWSettings settings;
  double p = t.param[1], m = 0, v = 0;
  SerialParallel serial;
  for (int64_t step = 1; step <= 50; ++step) {
    t.grad[1] = static_cast<float>(std::sin(static_cast<double>(step)));
    const double g = t.grad[1];
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    p *= 1 - 0.003 * 0.1;
    p -= 0.003 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.95, step))) + 1e-8);
    adamw_update(t.view(0.003, 0.1), settings, step, serial);
  }
  EXPECT_NEAR(t.param[1], p, 2e-6);
}

TEST(AdamW, LearningRateZeroMovesMomentsOnly) {
  Tensor t(4);
  const std::vector<float> before = t.param;
  SerialParallel serial;
  adamw_update(t.view(0, 0.1), {}, 1, serial);
  EXPECT_EQ(t.param, before);
  EXPECT_NE(t.first[0], 0.0F);
}

TEST(AdamW, WithoutAGradientNothingMoves) {
  Tensor t(4);
  const std::vector<float> before = t.param;
  AdamWTensor view = t.view(0.1, 0.1);
  view.grad = nullptr;
  SerialParallel serial;
  adamw_update(view, {}, 1, serial);
  EXPECT_EQ(t.param, before);
  EXPECT_EQ(t.first[0], 0.0F);
}

TEST(AdamW, NormAndUpdateHaveTheSameBitsForAnyThreads) {
  Tensor a(100001), b(100001);
  SerialParallel serial;
  ThreadPool pool(3);
  EXPECT_EQ(global_norm({a.view(0, 0)}, serial), global_norm({b.view(0, 0)}, pool));
  adamw_update(a.view(0.01, 0.1), {}, 1, serial);
  adamw_update(b.view(0.01, 0.1), {}, 1, pool);
  EXPECT_EQ(a.param, b.param);
  double squares = 0;
  for (float g : a.grad) squares += double{g} * g;
  EXPECT_NEAR(global_norm({a.view(0, 0)}, serial), std::sqrt(squares), 1e-9);
}

TEST(AdamW, ClippingFollowsTorch) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_DOUBLE_EQ(clip_scale(4, 1), 1 / 4.000001);
  EXPECT_EQ(clip_scale(4, 0), 1);
}

}  // namespace
}  // namespace fathom::train
