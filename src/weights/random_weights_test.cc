#include "weights/random_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "plan/initial_value.h"
#include "plan/matrix_types.h"
#include "plan/testing.h"
#include "plan/work.h"
#include "weights/checkpoint.h"

namespace fathom {
namespace {

using namespace testing_plan;

TEST(RandomWeights, AreTheInitialValuesOfEveryParameter) {
  ModelSpec spec = hybrid("sambay", 8);
  spec.vocab_size = 5000;  // an embedding longer than what is drawn
  const ModelPlan plan = *build_plan(spec);
  ThreadPool pool(3);
  for (DType type : {DType::kF32, DType::kBF16}) {
    const Weights weights = random_weights(plan, 7, type, pool);
    for (size_t p = 0; p < plan.params.size(); ++p) {
      const Param& param = plan.params[p];
      const Weights::Array& array = weights.at(static_cast<int32_t>(p));
      EXPECT_EQ(array.type, may_be_bf16(param.role) ? type : DType::kF32) << param.name;
      const int64_t count = elements_of(param);
      double square = 0;
      for (int64_t i = 0; i < count; ++i) {
        const float value = array.type == DType::kF32 ? static_cast<const float*>(array.data)[i]
                                                      : to_float(static_cast<const BFloat16*>(array.data)[i]);
        ASSERT_TRUE(std::isfinite(value)) << param.name;
        square += double{value} * value;
        if (i >= 65'521) continue;
        const float drawn = initial_value(param.init, 7, p, i, param.shape.back());
        ASSERT_EQ(value, array.type == DType::kF32 ? drawn : round_to_bfloat16(drawn))
            << param.name << " " << i;
      }
      if (param.init.kind != InitKind::kNormal || count < 10'000) continue;
      EXPECT_NEAR(std::sqrt(square / static_cast<double>(count)), param.init.a, 0.02 * param.init.a)
          << param.name;
    }
    EXPECT_EQ(weights.bytes_owned(), count_weight_bytes(plan, type));
  }
}

TEST(RandomWeights, AsInt8AreTheSameNumbersRounded) {
  ModelSpec spec = hybrid("sambay", 8);
  spec.vocab_size = 5000;
  const ModelPlan plan = *build_plan(spec);
  ThreadPool pool(3);
  const Weights exact = random_weights(plan, 7, DType::kF32, pool),
                int8 = random_weights(plan, 7, DType::kI8, pool);
  int quantised = 0;
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const Weights::Array& array = int8.at(static_cast<int32_t>(p));
    ASSERT_EQ(array.type, type_of(plan, static_cast<int32_t>(p), DType::kI8)) << plan.params[p].name;
    if (array.type != DType::kI8) continue;
    ++quantised;
    const int64_t columns = plan.params[p].shape.back();
    const float* values = exact.f32(static_cast<int32_t>(p));
    for (int64_t i = 0; i < elements_of(plan.params[p]); ++i) {
      const float scale = array.scale[i / columns];
      const float value = scale * static_cast<float>(static_cast<const int8_t*>(array.data)[i]);
      ASSERT_LE(std::fabs(value - values[i]), 0.5001F * scale) << plan.params[p].name << " " << i;
    }
  }
  EXPECT_GT(quantised, 20);
  EXPECT_EQ(int8.bytes_owned(), count_weight_bytes(plan, DType::kI8));
}

TEST(RandomWeights, AsInt4TakeTheBytesThatAreCounted) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  ThreadPool pool(3);
  for (const int64_t group : int4::kGroups) {
    const MatrixTypes types(DType::kI4, group);
    const Weights weights = random_weights(plan, 7, types, pool);
    for (size_t p = 0; p < plan.params.size(); ++p) {
      const Weights::Array& array = weights.at(static_cast<int32_t>(p));
      EXPECT_EQ(array.type, type_of(plan, static_cast<int32_t>(p), types)) << plan.params[p].name;
      EXPECT_EQ(array.group, group_of(plan, static_cast<int32_t>(p), types)) << plan.params[p].name;
    }
    EXPECT_EQ(weights.bytes_owned(), count_weight_bytes(plan, types));
  }
}

TEST(RandomWeights, DoNotDependOnThreads) {
  const ModelPlan plan = *build_plan(tiny());
  ThreadPool pool(4);
  SerialParallel serial;
  const Weights a = random_weights(plan, 1, DType::kF32, pool),
                b = random_weights(plan, 1, DType::kF32, serial);
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const auto index = static_cast<int32_t>(p);
    EXPECT_EQ(
        std::memcmp(a.at(index).data, b.at(index).data, static_cast<size_t>(elements_of(plan.params[p])) * 4),
        0);
  }
}

}  // namespace
}  // namespace fathom
