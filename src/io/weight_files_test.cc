// A model's tensors are found whether they lie in one file or in shards; tests/faults has the indexes that
// are refused.
#include "io/weight_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace fathom {
namespace {

namespace fs = std::filesystem;

std::string name_of(size_t i) { return std::string("t").append(std::to_string(i)); }

class WeightFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-weights-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
    for (int i = 0; i < 5; ++i) {
      values_.push_back({static_cast<float>(i), 10, 20, 30});
    }
    for (size_t i = 0; i < values_.size(); ++i) {
      tensors_.push_back(view_of(name_of(i), DType::kF32, {4}, values_[i]));
    }
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string open_error() const {
    const auto weights = WeightFiles::open(folder_);
    return weights.ok() ? "" : weights.error().message;
  }
  Status write_shard(const std::string& name, const std::vector<TensorView>& tensors) const {
    return write_safetensors(folder_ + "/" + name, tensors);
  }

  std::string folder_;
  std::vector<std::vector<float>> values_;
  std::vector<TensorView> tensors_;
};

TEST_F(WeightFilesTest, EveryShardSizeReadsTheSame) {
  for (uint64_t limit : {1, 16, 31, 32, 48, 64, 79, 80, 1000}) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    ASSERT_TRUE(write_weight_files(folder_, tensors_, {}, limit).ok());
    const auto weights = WeightFiles::open(folder_);
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    const uint64_t per_shard = std::max<uint64_t>(1, limit / 16);
    EXPECT_EQ(weights->files().size(), (5 + per_shard - 1) / per_shard) << limit;
    EXPECT_EQ(fs::exists(folder_ + "/model.safetensors"), limit >= 80);
    ASSERT_EQ(weights->tensors().size(), 5U);
    for (size_t i = 0; i < 5; ++i) {
      const auto read = weights->read_as_f32(name_of(i));
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_EQ(*read, values_[i]);
    }
    EXPECT_EQ(weights->find("t9"), nullptr);
    EXPECT_EQ(weights->require("t9").error().message, folder_ + ": no tensor \"t9\"");
  }
  EXPECT_TRUE(fs::exists(folder_ + "/model.safetensors"));
}

TEST_F(WeightFilesTest, AFileAloneIsOpenedUnderAnyName) {
  ASSERT_TRUE(write_shard("anything.safetensors", tensors_).ok());
  const auto weights = WeightFiles::open(folder_ + "/anything.safetensors");
  ASSERT_TRUE(weights.ok());
  EXPECT_EQ(weights->tensors().size(), 5U);
}

TEST_F(WeightFilesTest, AFolderWithoutWeightsIsRefused) {
  EXPECT_EQ(open_error(), folder_ +
                              ": no weights are there, neither model.safetensors nor pytorch_model.bin nor "
                              "an index of shards");
}

}  // namespace
}  // namespace fathom
