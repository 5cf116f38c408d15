// What the engine reads is what the file holds, whichever types and pieces it is stored in; and what needs no
// conversion stays in the file.
#include "weights/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/half.h"
#include "base/random.h"
#include "plan/testing.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-checkpoint-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
    Result<ModelPlan> plan = build_plan(testing_plan::hybrid(GetParam(), 8));
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    plan_ = std::move(plan).value();
    for (size_t p = 0; p < plan_.params.size(); ++p) {
      values_.emplace_back(static_cast<size_t>(elements_of(plan_.params[p])));
      for (size_t i = 0; i < values_.back().size(); ++i) values_.back()[i] = normal(3, p, i);
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The model as the engine has it in `wanted`, from a file in `stored`.
  Weights load(DType stored, DType wanted) {
    std::vector<std::vector<uint8_t>> storage;
    const auto views = checkpoint_views(
        plan_, naming_of(plan_), stored,
        [&](int32_t p) { return std::span<const float>(values_[static_cast<size_t>(p)]); }, storage);
    EXPECT_TRUE(write_weight_files(folder_, views).ok());
    Result<WeightFiles> files = WeightFiles::open(folder_);
    EXPECT_TRUE(files.ok());
    Result<Weights> weights = load_weights(
        plan_, naming_of(plan_), std::make_shared<const WeightFiles>(std::move(files).value()), wanted);
    EXPECT_TRUE(weights.ok());
    return std::move(weights).value();
  }

  std::string folder_;
  ModelPlan plan_;
  std::vector<std::vector<float>> values_;
};

TEST_P(CheckpointTest, TheEngineReadsTheValuesOfTheFile) {
  for (DType stored : {DType::kF32, DType::kBF16}) {
    for (DType wanted : {DType::kF32, DType::kBF16}) {
      const Weights weights = load(stored, wanted);
      for (size_t p = 0; p < plan_.params.size(); ++p) {
        const Weights::Array& array = weights.at(static_cast<int32_t>(p));
        const bool half = may_be_bf16(plan_.params[p].role);
        ASSERT_EQ(array.type, half ? wanted : DType::kF32);
        int64_t different = 0;
        for (size_t i = 0; i < values_[p].size(); ++i) {
          const bool rounded = half && (stored == DType::kBF16 || wanted == DType::kBF16);
          const float expected = rounded ? round_to_bfloat16(values_[p][i]) : values_[p][i];
          const float read = array.type == DType::kF32
                                 ? static_cast<const float*>(array.data)[i]
                                 : to_float(static_cast<const BFloat16*>(array.data)[i]);
          different += read != expected ? 1 : 0;
        }
        EXPECT_EQ(different, 0) << "parameter " << p;
      }
    }
  }
}

TEST_P(CheckpointTest, WhatNeedsNoConversionStaysInTheFile) {
  int64_t matrices = 0;
  for (const Param& param : plan_.params) {
    if (may_be_bf16(param.role)) matrices += elements_of(param) * size_of(DType::kBF16);
  }
  const int64_t owned = load(DType::kBF16, DType::kBF16).bytes_owned();
  if (GetParam() == "llama") {
    EXPECT_EQ(owned, 0);
  } else {
    EXPECT_LT(owned, matrices / 4);  // the rows of q, k and v are interleaved there
  }
  EXPECT_GE(load(DType::kF32, DType::kBF16).bytes_owned(), matrices);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CheckpointTest, ::testing::Values("llama", "sambay"));

}  // namespace
}  // namespace fathom
