// Initialisation against the table of the published training code.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "plan/initial_value.h"
#include "plan/naming.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

ModelSpec spec_of(const std::string& parametrisation, const std::string& config, int64_t width) {
  const size_t cut = config.rfind("_d");
  const int64_t depth = std::stoll(config.substr(cut + 2));
  ModelSpec spec;
  spec.architecture = config.substr(0, cut);
  spec.vocab_size = 32000;
  spec.hidden_size = width;
  spec.intermediate_size = 4 * width;
  spec.num_hidden_layers = spec.num_attention_heads = depth;
  spec.num_key_value_heads = depth / 4;
  spec.head_dim = 128;
  spec.tie_word_embeddings = parametrisation.ends_with("_tied");
  if (parametrisation.starts_with("mup_original")) spec.parametrisation = Parametrisation::kMuP;
  if (parametrisation.starts_with("mupp")) spec.parametrisation = Parametrisation::kMuPPlusPlus;
  return spec;
}

// "transformer.h.*.attn.D" and a layer give the tensor's name.
std::string name_at(std::string pattern, const nlohmann::json& layer) {
  const size_t star = pattern.find('*');
  if (star != std::string::npos) pattern.replace(star, 1, std::to_string(layer.get<int>()));
  return pattern;
}

void expect_init(const Init& init, const nlohmann::json& expected) {
  const std::string kind = expected["dist"];
  if (kind == "normal") {
    EXPECT_EQ(init.kind, InitKind::kNormal);
    EXPECT_NEAR(init.a, expected["std"].get<double>(), 1e-12);
  } else if (kind == "uniform") {
    EXPECT_EQ(init.kind, InitKind::kUniform);
    EXPECT_NEAR(init.a, expected["bound"].get<double>(), 1e-12);
  } else if (kind == "ones" || kind == "zeros") {
    EXPECT_EQ(init.kind, InitKind::kConstant);
    EXPECT_EQ(init.a, kind == "ones" ? 1 : 0);
  } else {
    EXPECT_EQ(kind, "special");
    EXPECT_TRUE(init.kind == InitKind::kLogRange || init.kind == InitKind::kInverseSoftplusDt);
  }
}

TEST(Init, EqualsThePublishedTableForEveryParametrisation) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: init_and_groups.json";
  const nlohmann::json table =
      read_json(shared_folder() + "/fixtures/decoder-hybrid-decoder/tables/init_and_groups.json");
  int models = 0, tensors = 0;
  const nlohmann::json& parametrisations = table["parametrisations"];
  for (const auto& [parametrisation, configs] : parametrisations.items()) {
    for (const auto& [config, expected] : configs.items()) {
      SCOPED_TRACE(parametrisation + " " + config);
      const Result<ModelPlan> plan = build_plan(spec_of(parametrisation, config, expected["width"]));
      ASSERT_TRUE(plan.ok()) << plan.error().message;
      EXPECT_NEAR(plan->logit_scale, expected["logit_scale"].get<double>(), 1e-12);
      EXPECT_NEAR(plan->residual_scale, expected["residual_branch_scale"].get<double>(), 1e-12);
      const auto& attention = std::get<Attention>(plan->segments[0].layers[1].mixer);
      EXPECT_NEAR(attention.scale, expected["attention_softmax_scale"].get<double>(), 1e-12);
      std::map<std::string, FileTensor> named;
      for (const FileTensor& tensor : checkpoint_tensors(*plan, NamingScheme::kArchScale))
        named[tensor.name] = tensor;
      size_t found = 0;
      for (const nlohmann::json& row : expected["tensors"]) {
        const nlohmann::json layers = row.value("layers", nlohmann::json::array({0}));
        for (const nlohmann::json& layer : layers) {
          const std::string name = name_at(row["name"], layer);
          SCOPED_TRACE(name);
          ASSERT_TRUE(named.count(name) == 1);
          for (const TensorPiece& piece : named[name].pieces)
            expect_init(plan->params[static_cast<size_t>(piece.param)].init, row["init"]);
          ++found;
        }
      }
      EXPECT_EQ(found, named.size());
      tensors += static_cast<int>(found);
      ++models;
    }
  }
  std::cout << "compared " << tensors << " tensors of " << models << " models\n";
  EXPECT_GE(models, 40);
}

TEST(Init, RecursiveModelsAreNormalWithoutScalingByDepth) {
  ModelSpec spec = tiny_mor(Sharing::kMiddleCycle, 3);
  spec.initializer_range = 0.03;
  const ModelPlan plan = *build_plan(spec);
  for (const Param& param : plan.params) {
    const bool norm = param.role == ParamRole::kNorm;
    EXPECT_EQ(param.init.kind, norm ? InitKind::kConstant : InitKind::kNormal) << param.name;
    EXPECT_EQ(param.init.a, norm ? 1.0 : 0.03) << param.name;
  }
}

// Decoder-Hybrid-Decoder 2.7, and the special rows of the table.
TEST(Init, RatesOfHeadsAreUniform) {
  const auto rates = [](const char* architecture) {
    const ModelPlan plan = *build_plan(hybrid(architecture, 8));
    const Mixer& mixer = plan.segments[0].layers[0].mixer;
    const auto* mamba2 = std::get_if<Mamba2>(&mixer);
    const ParamRef& a_log = mamba2 != nullptr ? mamba2->a_log : std::get<GatedDelta>(mixer).a_log;
    return plan.params[static_cast<size_t>(a_log.first)].init;
  };
  for (const char* architecture : {"sambay2", "gdny"}) {
    const Init init = rates(architecture);
    EXPECT_EQ(init.kind, InitKind::kLogUniform);
    const double low = std::string(architecture) == "sambay2" ? 1 : 0;
    double sum = 0;
    for (int64_t i = 0; i < 4000; ++i) {
      const double rate = std::exp(initial_value(init, 3, 1, i, 1));
      ASSERT_GE(rate, low * 0.999);
      ASSERT_LE(rate, 16.001);
      sum += rate;
    }
    EXPECT_NEAR(sum / 4000, (low + 16) / 2, 0.4);  // five standard errors
  }
  // A draw of zero has a finite logarithm.
  EXPECT_FLOAT_EQ(initial_value({.kind = InitKind::kLogUniform, .a = 0, .b = 0, .floor = 1e-6}, 1, 1, 0, 1),
                  std::log(1e-6F));
}

TEST(Init, MambaStepsLieBetweenTheirBounds) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const auto& mamba = std::get<Mamba>(plan.segments[0].layers[0].mixer);
  const Init& init = plan.params[static_cast<size_t>(mamba.dt_bias.first)].init;
  EXPECT_EQ(init.kind, InitKind::kInverseSoftplusDt);
  EXPECT_EQ(init.a, 1e-3);
  EXPECT_EQ(init.b, 0.1);
  EXPECT_EQ(init.floor, 1e-4);
}

}  // namespace
}  // namespace fathom
