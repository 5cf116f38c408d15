// What the engine reads is what the file holds, whichever types and pieces it is stored in; and what needs no
// conversion stays in the file.
#include "weights/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

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

  // The model in a file in `stored`.
  std::shared_ptr<const WeightFiles> write(DType stored) {
    std::vector<std::vector<uint8_t>> storage;
    const auto views = checkpoint_views(
        plan_, naming_of(plan_), stored,
        [&](int32_t p) { return std::span<const float>(values_[static_cast<size_t>(p)]); }, storage);
    EXPECT_TRUE(write_weight_files(folder_, views).ok());
    Result<WeightFiles> files = WeightFiles::open(folder_);
    EXPECT_TRUE(files.ok());
    return std::make_shared<const WeightFiles>(std::move(files).value());
  }
  // As the engine has it in `wanted`.
  Weights load(DType stored, DType wanted) {
    Result<Weights> weights = load_weights(plan_, naming_of(plan_), write(stored), wanted);
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

TEST_P(CheckpointTest, WhatLoadingAllocatesIsKnownBefore) {
  SerialParallel serial;
  for (const DType stored : {DType::kF32, DType::kBF16}) {
    const auto files = write(stored);
    const auto found = StoredWeights::open(plan_, naming_of(plan_), files);
    ASSERT_TRUE(found.ok()) << found.error().message;
    for (const DType wanted : {DType::kF32, DType::kBF16, DType::kI8}) {
      EXPECT_EQ(found->loading_bytes(wanted), found->load(wanted, serial)->bytes_owned())
          << name_of(stored) << " as " << name_of(wanted);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, CheckpointTest, ::testing::Values("llama", "sambay"));

// Of more rows than a worker converts at a time.
class LargeMatrix : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelSpec spec = testing_plan::tiny();
    spec.vocab_size = 9001;
    plan_ = *build_plan(spec);
    for (size_t p = 0; p < plan_.params.size(); ++p) {
      values_.emplace_back(static_cast<size_t>(elements_of(plan_.params[p])));
      for (size_t i = 0; i < values_.back().size(); ++i) values_.back()[i] = normal(3, p, i);
    }
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::shared_ptr<const WeightFiles> write(DType type) const {
    std::vector<std::vector<uint8_t>> storage;
    const auto views = checkpoint_views(
        plan_, naming_of(plan_), type,
        [&](int32_t p) { return std::span<const float>(values_[static_cast<size_t>(p)]); }, storage);
    EXPECT_TRUE(write_weight_files(folder_, views).ok());
    return std::make_shared<const WeightFiles>(WeightFiles::open(folder_).value());
  }

  ModelPlan plan_;
  std::vector<std::vector<float>> values_;
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-large-matrix-" + std::to_string(::getpid()))).string();
};

TEST_F(LargeMatrix, ThreadsConvertItIntoTheSameBytes) {
  SerialParallel serial;
  ThreadPool pool(3);
  const int32_t matrix = plan_.embedding.first;
  const int64_t rows = plan_.params[static_cast<size_t>(matrix)].shape.front(), columns = 32;
  for (const DType stored : {DType::kF32, DType::kBF16}) {
    const auto found = StoredWeights::open(plan_, naming_of(plan_), write(stored));
    ASSERT_TRUE(found.ok()) << found.error().message;
    for (const DType wanted : {DType::kF32, DType::kBF16, DType::kI8}) {
      SCOPED_TRACE(std::string(name_of(stored)) + " as " + std::string(name_of(wanted)));
      const Weights one = found->load(wanted, serial).value(), three = found->load(wanted, pool).value();
      const Weights::Array &a = one.at(matrix), &b = three.at(matrix);
      EXPECT_EQ(a.type, wanted);
      EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<size_t>(rows * columns * size_of(wanted))), 0);
      if (wanted != DType::kI8) continue;
      EXPECT_TRUE(std::equal(a.scale, a.scale + rows, b.scale));
    }
  }
  // And those of the file.
  const Weights wide = StoredWeights::open(plan_, naming_of(plan_), write(DType::kBF16))
                           .value()
                           .load(DType::kF32, pool)
                           .value();
  int64_t different = 0;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float expected = round_to_bfloat16(values_[static_cast<size_t>(matrix)][static_cast<size_t>(i)]);
    different += static_cast<const float*>(wide.at(matrix).data)[i] != expected ? 1 : 0;
  }
  EXPECT_EQ(different, 0);
}

TEST_F(LargeMatrix, TheFirstRowThatInt8CannotHoldIsNamed) {
  ThreadPool pool(3);
  std::vector<float>& embedding = values_[static_cast<size_t>(plan_.embedding.first)];
  for (const size_t row : {1000U, 1001U, 5000U, 9000U})
    embedding[32 * row + 7] = std::numeric_limits<float>::infinity();
  const auto found = StoredWeights::open(plan_, naming_of(plan_), write(DType::kF32));
  ASSERT_TRUE(found.ok()) << found.error().message;
  for (int again = 0; again < 5; ++again) {
    const Result<Weights> weights = found->load(DType::kI8, pool);
    ASSERT_FALSE(weights.ok());
    EXPECT_EQ(weights.error().message,
              folder_ +
                  ": tensor model.embed_tokens.weight holds a value in row 1000 that is not finite, "
                  "expected finite ones for int8");
  }
}

}  // namespace
}  // namespace fathom
