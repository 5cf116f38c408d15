#include "train/parameters.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "train/testing.h"
#include "train/torch_parallel.h"

namespace fathom::train {
namespace {

TEST(Parameters, FreshValuesDependOnTheSeedAndNotOnThreads) {
  testing::SmallModel model = testing::small_model("sambay", testing::spec_named("sambay"));
  Parameters one(model.plan), three(model.plan), other(model.plan);
  set_threads(1);
  init_parameters(model.plan, 7, one);
  init_parameters(model.plan, 8, other);
  set_threads(3);
  init_parameters(model.plan, 7, three);
  bool differ = false;
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const auto index = static_cast<int32_t>(p);
    EXPECT_TRUE(std::ranges::equal(one.values(index), three.values(index))) << model.plan.params[p].name;
    differ = differ || !std::ranges::equal(one.values(index), other.values(index));
  }
  EXPECT_TRUE(differ);
}

// The figures of Param::init: standard deviation of a normal, ends of a range.
TEST(Parameters, FreshValuesAreSpreadAsTheirInitSays) {
  std::map<InitKind, int> kinds;
  for (const char* name : {"sambay", "sambay2", "gdny"}) {
    testing::SmallModel model = testing::small_model(name, testing::spec_named(name));
    Parameters parameters(model.plan);
    init_parameters(model.plan, 7, parameters);
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      const Param& param = model.plan.params[p];
      const std::span<const float> values = std::as_const(parameters).values(static_cast<int32_t>(p));
      const auto count = static_cast<double>(values.size());
      SCOPED_TRACE(param.name);
      ++kinds[param.init.kind];
      double sum = 0, squares = 0;
      for (float value : values) {
        sum += value;
        squares += double{value} * value;
        switch (param.init.kind) {
          case InitKind::kNormal:
            ASSERT_TRUE(std::isfinite(value));
            break;
          case InitKind::kUniform:
            ASSERT_LE(std::fabs(value), param.init.a);
            break;
          case InitKind::kRowNorms:  // tested with the models that have it
            break;
          case InitKind::kConstant:
            ASSERT_EQ(value, static_cast<float>(param.init.a));
            break;
          case InitKind::kLogRange:
            ASSERT_GE(value, 0.0F);
            break;
          case InitKind::kLogUniform:
            ASSERT_GE(value, static_cast<float>(std::log(std::max(param.init.floor, param.init.a))));
            ASSERT_LE(value, static_cast<float>(std::log(param.init.b)));
            break;
          case InitKind::kInverseSoftplusDt:
            ASSERT_GE(std::log1p(std::exp(double{value})), 0.999 * std::max(param.init.floor, param.init.a));
            ASSERT_LE(std::log1p(std::exp(double{value})), 1.001 * param.init.b);
            break;
        }
      }
      // Five standard errors.
      if (param.init.kind == InitKind::kNormal || param.init.kind == InitKind::kUniform) {
        const double deviation =
            param.init.kind == InitKind::kNormal ? param.init.a : param.init.a / std::sqrt(3.0);
        EXPECT_LE(std::fabs(sum / count), 5 * deviation / std::sqrt(count));
        EXPECT_NEAR(std::sqrt(squares / count) / deviation, 1.0, 5 / std::sqrt(2 * count));
      }
      if (param.init.kind == InitKind::kLogRange) {
        for (size_t i = 0; i < values.size(); ++i) {
          const auto column = static_cast<double>(i % static_cast<size_t>(param.shape.back()));
          ASSERT_FLOAT_EQ(values[i], static_cast<float>(std::log(column + 1)));
        }
      }
    }
  }
  for (const InitKind kind : {InitKind::kNormal, InitKind::kConstant, InitKind::kUniform, InitKind::kLogRange,
                              InitKind::kLogUniform, InitKind::kInverseSoftplusDt})
    EXPECT_GT(kinds[kind], 0) << static_cast<int>(kind);
}

TEST(Parameters, GradientsAddUpUntilCleared) {
  testing::SmallModel model = testing::small_model("llama", testing::spec_named("llama"));
  const Batch batch = testing::random_batch(model.plan, {9});
  Executor executor(model.plan, *model.parameters);
  const auto copies = [&] {
    std::vector<std::vector<float>> all;
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      const std::span<const float> gradient = model.parameters->gradient(static_cast<int32_t>(p));
      all.emplace_back(gradient.begin(), gradient.end());
    }
    return all;
  };
  executor.forward(batch, {}).loss.backward();
  const std::vector<std::vector<float>> once = copies();
  executor.forward(batch, {}).loss.backward();
  const std::vector<std::vector<float>> twice = copies();
  for (size_t p = 0; p < once.size(); ++p) {
    ASSERT_FALSE(once[p].empty());
    for (size_t i = 0; i < once[p].size(); ++i) {
      // The tied embedding has two parts, added one after the other to what stands there: ((a + b) + a) + b.
      if (p == 0) {
        ASSERT_NEAR(twice[p][i], 2 * once[p][i], 2e-6 * std::fabs(once[p][i]) + 1e-6);
      } else {
        ASSERT_EQ(twice[p][i], 2 * once[p][i]) << model.plan.params[p].name;
      }
    }
  }
  model.parameters->clear_gradients();
  EXPECT_TRUE(model.parameters->gradient(0).empty());
}

}  // namespace
}  // namespace fathom::train
