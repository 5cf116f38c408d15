// A recursive model starts from the layers of a vanilla one, bit for bit as the published code made it.
#include "weights/uptraining.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "weights/checkpoint.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using namespace testing_plan;
using ::testing::HasSubstr;

using Values = std::vector<std::vector<float>>;

Values memory_of(const ModelPlan& plan, float value = 0) {
  Values values;
  for (const Param& param : plan.params) values.emplace_back(static_cast<size_t>(elements_of(param)), value);
  return values;
}

std::function<std::span<float>(int32_t)> into(Values& values) {
  return [&values](int32_t param) { return std::span<float>(values[static_cast<size_t>(param)]); };
}

TEST(Uptraining, EqualsThePublishedWeightsToTheBit) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: init_*/source.safetensors";
  const std::pair<const char*, Initialization> cases[] = {
      {"init_average_middle_cycle_nr2", Initialization::kAverage},
      {"init_stepwise_cycle_nr3", Initialization::kStepwise}};
  for (const auto& [name, rule] : cases) {
    SCOPED_TRACE(name);
    const std::string folder = shared_folder() + "/fixtures/mixture-of-recursions/" + name;
    ModelSpec spec = *load_spec(folder);
    spec.initialization = rule;
    const ModelPlan plan = *build_plan(spec);
    const WeightFiles source = WeightFiles::open(folder + "/source.safetensors").value();
    const WeightFiles recorded = WeightFiles::open(folder + "/weights.safetensors").value();
    Values got = memory_of(plan, -1), expected = memory_of(plan);
    const Status status = read_uptrained(plan, source, /*vanilla_tied=*/true, draw_with(1), into(got));
    ASSERT_TRUE(status.ok()) << status.error().message;
    ASSERT_TRUE(read_parameters(plan, naming_of(plan), recorded, into(expected)).ok());
    for (size_t p = 0; p < got.size(); ++p) {
      // The recorded head was drawn anew: the file of a tied model has none, and the published class takes
      // what it does not find for untrained.
      if (plan.params[p].role == ParamRole::kHead) continue;
      EXPECT_EQ(got[p], expected[p]) << plan.params[p].name;
    }
  }
}

class VanillaCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-uptraining-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
    write(tiny());
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const ModelSpec& spec) {
    vanilla_ = *build_plan(spec);
    values_ = memory_of(vanilla_);
    for (size_t p = 0; p < values_.size(); ++p) {
      for (size_t i = 0; i < values_[p].size(); ++i) values_[p][i] = normal(5, p, i);
    }
    std::vector<std::vector<uint8_t>> storage;
    const auto views = checkpoint_views(
        vanilla_, naming_of(vanilla_), DType::kF32,
        [&](int32_t p) { return std::span<const float>(values_[static_cast<size_t>(p)]); }, storage);
    ASSERT_TRUE(write_weight_files(folder_, views).ok());
    std::ofstream(folder_ + "/config.json") << write_config_json(spec);
  }

  std::string refusal(const ModelSpec& spec) {
    const ModelPlan plan = *build_plan(spec);
    Values values = memory_of(plan);
    const Result<std::optional<ModelPlan>> status = read_start(plan, folder_, 1, into(values));
    return status.ok() ? "accepted" : status.error().message;
  }

  const std::vector<float>& vanilla(int32_t layer, ParamRef Mlp::*matrix) const {
    return values_[static_cast<size_t>(
        (vanilla_.segments[0].layers[static_cast<size_t>(layer)].mlp.*matrix).first)];
  }

  std::string folder_;
  ModelPlan vanilla_;
  Values values_;
};

// 8 layers of middle_cycle with 3 recursions: 1 + 2 x 3 + 1; "upper" starts from layers 5 and 6.
TEST_F(VanillaCheckpoint, FillsARoutedModelAndLeavesItsRoutersFresh) {
  ModelSpec spec = tiny_mor(Sharing::kMiddleCycle, 3);
  spec.initialization = Initialization::kUpper;
  spec.share_norms = false;
  const ModelPlan plan = *build_plan(spec);
  Values got = memory_of(plan, -1);
  const Result<std::optional<ModelPlan>> status = read_start(plan, folder_, 1, into(got));
  ASSERT_TRUE(status.ok()) << status.error().message;
  const Segment& routed = plan.segments[1];
  for (int32_t l = 0; l < 2; ++l) {
    const Layer& layer = routed.layers[static_cast<size_t>(l)];
    EXPECT_EQ(got[static_cast<size_t>(layer.mlp.up.first)], vanilla(5 + l, &Mlp::up));
    const Layer& source = vanilla_.segments[0].layers[static_cast<size_t>(5 + l)];
    for (int32_t depth = 0; depth < 3; ++depth) {
      EXPECT_EQ(got[static_cast<size_t>(layer.norm1.weight.at(depth))],
                values_[static_cast<size_t>(source.norm1.weight.first)]);
    }
  }
  EXPECT_EQ(got[static_cast<size_t>(plan.segments[2].layers[0].mlp.down.first)], vanilla(7, &Mlp::down));
  for (size_t p = 0; p < got.size(); ++p) {
    const bool untouched = std::ranges::all_of(got[p], [](float value) { return value == -1; });
    EXPECT_EQ(untouched, plan.params[p].role == ParamRole::kRouter) << plan.params[p].name;
  }
}

// More values than are read at a time, in many rows and in long ones.
TEST_F(VanillaCheckpoint, AveragesMatricesThatAreReadInParts) {
  ModelSpec spec = tiny();
  spec.num_hidden_layers = 2;
  spec.intermediate_size = 33'000;
  write(spec);
  spec.sharing = Sharing::kSequence;
  spec.num_recursion = 2;
  spec.initialization = Initialization::kAverage;
  const ModelPlan plan = *build_plan(spec);
  Values got = memory_of(plan, -1);
  const Result<std::optional<ModelPlan>> status = read_start(plan, folder_, 1, into(got));
  ASSERT_TRUE(status.ok()) << status.error().message;
  for (ParamRef Mlp::*matrix : {&Mlp::gate, &Mlp::down}) {
    const ParamRef& shared = plan.segments[0].layers[0].mlp.*matrix;
    const std::vector<float>&mean = got[static_cast<size_t>(shared.first)], &first = vanilla(0, matrix),
          &second = vanilla(1, matrix);
    ASSERT_EQ(mean.size(), first.size());
    int64_t different = 0;
    for (size_t i = 0; i < mean.size(); ++i) different += mean[i] != (first[i] + second[i]) / 2 ? 1 : 0;
    EXPECT_EQ(different, 0);
  }
}

// 8 repeated layers do not fill 3 recursions of 3: those at round(linspace(0, 7, 6)) stay.
TEST_F(VanillaCheckpoint, DropsLayersBeforeItAverages) {
  ModelSpec spec = tiny_recursive(Sharing::kSequence, 3);
  spec.initialization = Initialization::kAverage;
  const ModelPlan plan = *build_plan(spec);
  Values got = memory_of(plan);
  ASSERT_TRUE(read_start(plan, folder_, 1, into(got)).ok());
  // round(0, 1.4, 2.8, 4.2, 5.6, 7)
  const int32_t kept[] = {0, 1, 3, 4, 6, 7};
  for (int32_t block = 0; block < 2; ++block) {
    const Layer& layer = plan.segments[static_cast<size_t>(block)].layers[0];
    const std::vector<float>& mean = got[static_cast<size_t>(layer.mlp.gate.first)];
    for (size_t i = 0; i < mean.size(); ++i) {
      const int32_t* of = kept + 3 * block;
      const float sum =
          vanilla(of[0], &Mlp::gate)[i] + vanilla(of[1], &Mlp::gate)[i] + vanilla(of[2], &Mlp::gate)[i];
      ASSERT_EQ(mean[i], sum / 3.0F);
    }
  }
}

TEST_F(VanillaCheckpoint, ReducedDepthStartsFromTheRulesLayers) {
  ModelSpec spec = tiny_recursive(Sharing::kCycle, 1);
  spec.base_depth = 2;
  spec.initialization = Initialization::kStepwise;
  const ModelPlan plan = *build_plan(spec);
  ASSERT_EQ(plan.num_unrolled_layers(), 2);
  Values got = memory_of(plan);
  ASSERT_TRUE(read_start(plan, folder_, 1, into(got)).ok());
  EXPECT_EQ(got[static_cast<size_t>(plan.segments[0].layers[0].mlp.up.first)], vanilla(0, &Mlp::up));
  EXPECT_EQ(got[static_cast<size_t>(plan.segments[0].layers[1].mlp.up.first)], vanilla(7, &Mlp::up));
}

TEST_F(VanillaCheckpoint, AnUntiedHeadStartsAsACopyOfTheEmbedding) {
  ModelSpec spec = tiny_recursive(Sharing::kCycle, 2);
  spec.initialization = Initialization::kLower;
  const ModelPlan plan = *build_plan(spec);
  ASSERT_NE(plan.head.first, plan.embedding.first);
  Values got = memory_of(plan);
  ASSERT_TRUE(read_start(plan, folder_, 1, into(got)).ok());
  EXPECT_EQ(got[static_cast<size_t>(plan.head.first)],
            values_[static_cast<size_t>(vanilla_.embedding.first)]);
}

TEST_F(VanillaCheckpoint, IsRefusedWhereItCannotFillTheModel) {
  ModelSpec spec = tiny_recursive(Sharing::kCycle, 2);
  EXPECT_EQ(refusal(spec),
            "initialization: absent, but " + folder_ +
                " holds a vanilla model and this one has shared layers; expected \"stepwise\", \"average\", "
                "\"lower\", \"upper\" or \"random\"");
  spec.initialization = Initialization::kStepwise;
  spec.num_hidden_layers = 10;
  EXPECT_EQ(refusal(spec),
            folder_ + ": has 8 layers, expected num_hidden_layers = 10 as the model that they start");
  spec.num_hidden_layers = 8;
  spec.intermediate_size = 48;
  EXPECT_THAT(refusal(spec), HasSubstr("has shape [64, 32], expected [48, 32]"));

  ModelSpec untied = tiny();
  untied.tie_word_embeddings = false;
  write(untied);
  ModelSpec routed = tiny_mor(Sharing::kCycle, 2);
  routed.initialization = Initialization::kStepwise;
  EXPECT_EQ(refusal(routed), folder_ +
                                 ": has a head of its own, but the model's is its embedding; expected "
                                 "tie_word_embeddings = false");
}

}  // namespace
}  // namespace fathom
