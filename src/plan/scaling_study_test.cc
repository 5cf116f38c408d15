#include "plan/scaling_study.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/architecture.h"
#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

ModelSpec of_depth(const std::string& architecture, int64_t layers) {
  ModelSpec spec;
  spec.architecture = architecture;
  spec.num_hidden_layers = layers;
  EXPECT_TRUE(give_study_shape(spec).ok());
  return spec;
}

// Decoder-Hybrid-Decoder, table 7: each aspect ratio is the even integer at or above the root of "as many
// parameters as Transformer++" (GDNY and the S-GDNY of the code are counted as published, not solved for).
TEST(ScalingStudy, AspectRatiosMatchTransformersParameters) {
  const double expected = *study_parameters(of_depth("transformer", 16));
  EXPECT_EQ(expected, 237568.0 * 16 * 16 * 16);
  int compared = 0;
  for (const Architecture& row : hybrid_architectures()) {
    const std::string name(row.name);
    if (!has_study_shape(name) || name == "sgdny") continue;
    ModelSpec spec = of_depth(name, 16);
    EXPECT_EQ(spec.hidden_size % 32, 0) << name;
    EXPECT_GE(*study_parameters(spec), expected) << name;
    spec.hidden_size -= 2 * 16;
    EXPECT_LT(*study_parameters(spec), expected) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 14);
}

TEST(ScalingStudy, ShapesFollowFromTheDepthWhereASpecHasNoWidth) {
  const std::string head = "architecture = \"sambay\"\nvocab_size = 32000\n";
  const Result<ModelSpec> spec = parse_spec_toml(head + "num_hidden_layers = 16\n", "spec");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  EXPECT_EQ(spec->hidden_size, 1984);
  EXPECT_EQ(spec->intermediate_size, 7936);
  EXPECT_EQ(spec->num_attention_heads, 16);
  EXPECT_EQ(spec->num_key_value_heads, 4);
  EXPECT_EQ(spec->head_dim, 128);
  EXPECT_EQ(
      parse_spec_toml(head + "num_hidden_layers = 16\nintermediate_size = 4000\n", "spec")->intermediate_size,
      4000);
  EXPECT_EQ(parse_spec_toml(head + "num_hidden_layers = 18\n", "spec").error().message,
            "spec: num_hidden_layers: found 18, expected a multiple of 4 up to 1024 for the study's shape of "
            "sambay (hidden_size is absent)");
  EXPECT_FALSE(
      parse_spec_toml("architecture = \"llama\"\nvocab_size = 97\nnum_hidden_layers = 16\n", "spec").ok());
}

TEST(ScalingStudy, BuiltInModelsHaveTheirShape) {
  int compared = 0;
  for (const char* architecture : {"transformer", "samba", "sambay", "sambayoco"}) {
    for (int64_t layers : {8, 12, 16, 20, 24}) {
      const std::string name = std::string(architecture) + "-d" + std::to_string(layers);
      const Result<ModelSpec> spec =
          load_spec(std::string(FATHOM_SOURCE_DIR) + "/configs/models/" + name + ".toml");
      ASSERT_TRUE(spec.ok()) << spec.error().message;
      ModelSpec shaped = *spec;
      ASSERT_TRUE(give_study_shape(shaped).ok());
      EXPECT_TRUE(shaped == *spec) << name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 20);
}

// Table 7's learning rates, and table 6's rows.
TEST(ScalingStudy, RatesFollowDepthAndBatchByParametrisation) {
  ModelSpec spec = of_depth("sambay", 8);
  spec.parametrisation = Parametrisation::kMuPPlusPlus;
  const double batch = StudyBase::kBatchTokens;
  EXPECT_NEAR(study_learning_rate(spec, StudyBase::kLearningRate, batch, batch), 5.66e-4, 5e-7);
  EXPECT_NEAR(study_learning_rate(spec, StudyBase::kLearningRate, batch, 4 * batch), 2 * 5.66e-4, 1e-6);
  Param matrix, norm;
  matrix.role = ParamRole::kMatrix;
  norm.role = ParamRole::kNorm;
  EXPECT_EQ(rate_multiplier(spec, matrix), 2);
  EXPECT_EQ(rate_multiplier(spec, norm), 1);
  EXPECT_TRUE(decays_by_parametrisation(spec, matrix));
  EXPECT_FALSE(decays_by_parametrisation(spec, norm));
  spec.parametrisation = Parametrisation::kMuP;
  EXPECT_EQ(study_learning_rate(spec, 1, batch, batch), 1);
  EXPECT_EQ(rate_multiplier(spec, matrix), 2);
  EXPECT_TRUE(decays_by_parametrisation(spec, norm));
  spec.parametrisation = Parametrisation::kStandard;
  EXPECT_EQ(rate_multiplier(spec, matrix), 1);
  EXPECT_TRUE(decays_by_parametrisation(spec, norm));
}

}  // namespace
}  // namespace fathom
