#include "weights/fresh_weights.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "plan/initial_value.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "weights/checkpoint.h"
#include "weights/model_source.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using namespace testing_plan;

class FreshWeights : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_ = (fs::temp_directory_path() / ("fathom-fresh-" + std::to_string(::getpid()))).string();
};

// In one file and in many, in every layout of names: each parameter has its initial values.
TEST_F(FreshWeights, AreTheInitialValues) {
  ThreadPool pool(3);
  for (const ModelSpec& spec : {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8),
                                hybrid("phi4flash", 8), hybrid("sgdny", 8)}) {
    const ModelPlan plan = *build_plan(spec);
    for (uint64_t shard : {kMaxShardBytes, uint64_t{50'000}}) {
      const std::string path = folder_ + "/" + spec.architecture + std::to_string(shard);
      fs::create_directories(path);
      uint64_t total = 0;
      const Status status = write_fresh_weights(
          path, plan, 5, DType::kF32, pool,
          [&](uint64_t written) -> Status {
            EXPECT_GT(written, total);
            total = written;
            return {};
          },
          shard);
      ASSERT_TRUE(status.ok()) << status.error().message;
      EXPECT_EQ(fs::exists(path + "/model.safetensors"), shard == kMaxShardBytes);
      const Result<WeightFiles> files = WeightFiles::open(path);
      ASSERT_TRUE(files.ok()) << files.error().message;
      std::vector<std::vector<float>> values;
      for (const Param& param : plan.params) values.emplace_back(static_cast<size_t>(elements_of(param)));
      ASSERT_TRUE(read_parameters(plan, naming_of(plan), *files, [&](int32_t p) -> std::span<float> {
                    return values[static_cast<size_t>(p)];
                  }).ok());
      for (size_t p = 0; p < values.size(); ++p) {
        for (size_t i = 0; i < values[p].size(); i += 7) {
          ASSERT_EQ(values[p][i], initial_value(plan.params[p].init, 5, p, static_cast<int64_t>(i),
                                                plan.params[p].shape.back()))
              << plan.params[p].name << " " << i;
        }
      }
    }
  }
}

// What is written is opened again as the model that it was, with every tie.
TEST_F(FreshWeights, OfEveryTinyModelAreThatModel) {
  SerialParallel serial;
  int models = 0;
  for (const auto& entry : fs::directory_iterator(FATHOM_SOURCE_DIR "/configs/models/tiny")) {
    SCOPED_TRACE(entry.path().stem().string());
    const ModelSpec spec = *load_spec(entry.path().string());
    const ModelPlan plan = *build_plan(spec);
    const std::string path = folder_ + "/" + entry.path().stem().string();
    fs::create_directories(path);
    if (!write_fresh_weights(path, plan, 5, DType::kF32, serial).ok()) continue;  // DoRA starts from others
    std::ofstream(path + "/config.json") << write_config_json(spec);
    const Result<ModelSpec> read = load_spec(path);
    ASSERT_TRUE(read.ok()) << read.error().message;
    const Result<ModelSource> source = open_model_source(*read, path);
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ(source->plan.params.size(), plan.params.size());
    const Result<Weights> weights = load_weights(source->plan, source->scheme, source->files, DType::kF32);
    EXPECT_TRUE(weights.ok()) << weights.error().message;
    ++models;
  }
  EXPECT_GE(models, 40);
}

TEST_F(FreshWeights, StopWhereTheyAreTold) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(tiny());
  const Status status = write_fresh_weights(folder_, plan, 5, DType::kBF16, serial,
                                            [](uint64_t) -> Status { return invalid("enough"); });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "enough");
  EXPECT_FALSE(WeightFiles::are_in(folder_));
}

}  // namespace
}  // namespace fathom
