#include "eval/sensitive_matrices.h"

#include <gtest/gtest.h>

#include "plan/testing.h"
#include "plan/work.h"

namespace fathom::eval {
namespace {

// Matrices that may be int4, of divergences that fall from the first to the last.
std::vector<Sensitivity> falling(const ModelPlan& plan, const MatrixTypes& int4) {
  std::vector<Sensitivity> matrices;
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const auto param = static_cast<int32_t>(p);
    if (!may_be_int4(plan, param)) continue;
    const int64_t extra = bytes_of(plan, param, DType::kI8) - bytes_of(plan, param, int4);
    matrices.push_back({{param}, static_cast<double>(extra) / static_cast<double>(1 + p), extra});
  }
  return matrices;
}

TEST(SensitiveMatrices, AreInt8AsFarAsTheBytesAllowTheMostSensitiveFirst) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  const MatrixTypes int4(DType::kI4, 32);
  const std::vector<Sensitivity> matrices = falling(plan, int4);
  const int64_t least = count_weight_bytes(plan, int4), most = count_weight_bytes(plan, DType::kI8);
  EXPECT_TRUE(with_int8(plan, int4, matrices, least).own.empty());
  EXPECT_EQ(with_int8(plan, int4, matrices, most).own.size(), matrices.size());
  EXPECT_EQ(count_weight_bytes(plan, with_int8(plan, int4, matrices, most)), most);
  const MatrixTypes first = with_int8(plan, int4, matrices, least + matrices.front().extra_bytes);
  EXPECT_EQ(type_of(plan, matrices.front().params.front(), first), DType::kI8);
  for (int64_t bytes = least; bytes <= most; bytes += (most - least) / 7) {
    EXPECT_LE(count_weight_bytes(plan, with_int8(plan, int4, matrices, bytes)), bytes);
  }
}

}  // namespace
}  // namespace fathom::eval
