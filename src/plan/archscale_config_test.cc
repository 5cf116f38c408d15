#include <gtest/gtest.h>

#include <cmath>

#include "plan/config_dialects.h"
#include "plan/model_plan.h"

namespace fathom {
namespace {

nlohmann::json config(const char* name) {
  return {{"name", name},      {"padded_vocab_size", 97},  {"n_layer", 8},  {"n_embd", 32},
          {"n_head", 4},       {"n_query_groups", 2},      {"head_dim", 8}, {"intermediate_size", 64},
          {"local_window", 5}, {"rnn_per_layer", -1},      {"yoco", false}, {"gmu_yoco", false},
          {"nope", false},     {"full_per_layer", 1000000}};
}

nlohmann::json sambay() {
  nlohmann::json object = config("sambay_d8");
  object.update({{"rnn_per_layer", 2}, {"yoco", true}, {"gmu_yoco", true}, {"nope", true}});
  return object;
}

ModelPlan plan_of(const nlohmann::json& object) {
  const Result<ModelSpec> spec = read_archscale_config(object);
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  const Result<ModelPlan> plan = build_plan(*spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  return *plan;
}

// The window of attention in layer `index`; 0: it sees everything.
int64_t window_of(const ModelPlan& plan, size_t index) {
  return std::get<Attention>(plan.segments.front().layers.at(index).mixer).window;
}

std::string refusal(const nlohmann::json& object) {
  const Result<ModelSpec> spec = read_archscale_config(object);
  return spec.ok() ? "" : spec.error().message;
}

TEST(ArchScaleConfig, WithoutAWindowLayersSeeAsMuchAsAnyContextHolds) {
  nlohmann::json object = sambay();
  EXPECT_EQ(window_of(plan_of(object), 1), 5);
  object["local_window"] = -1;
  EXPECT_GE(window_of(plan_of(object), 1), int64_t{1} << 30);
  object = config("transformer_d8");
  object["local_window"] = -1;
  EXPECT_EQ(window_of(plan_of(object), 1), 0);
}

TEST(ArchScaleConfig, APeriodOfFullLayersIsTheArchitecturesOrRefused) {
  nlohmann::json object = config("transformerls_d8");
  object["full_per_layer"] = 4;
  EXPECT_EQ(window_of(plan_of(object), 3), 0);
  EXPECT_EQ(window_of(plan_of(object), 4), 5);
  object["full_per_layer"] = 2;
  EXPECT_EQ(
      refusal(object),
      "not supported yet: full_per_layer = 2, with which transformerls has other layers of full attention");
  object = config("transformer_d8");
  object["full_per_layer"] = 4;
  EXPECT_NE(refusal(object), "");
  // Without windows there is nothing that could be full instead.
  object["local_window"] = -1;
  EXPECT_EQ(refusal(object), "");
  // Layer 5 of SambaY is full already; layers 1 and 3 would be with two.
  object = sambay();
  object["full_per_layer"] = 6;
  EXPECT_EQ(refusal(object), "");
  object["full_per_layer"] = 2;
  EXPECT_NE(refusal(object), "");
}

TEST(ArchScaleConfig, BiasesOfAttentionAreAllOfThemOrRefused) {
  const auto has_biases = [](const nlohmann::json& object) {
    const ModelPlan plan = plan_of(object);
    const auto& attention = std::get<Attention>(plan.segments.front().layers.at(1).mixer);
    return attention.q_bias.present() && attention.o_bias.present();
  };
  nlohmann::json object = sambay();
  EXPECT_FALSE(has_biases(object));
  object["attn_bias"] = true;
  EXPECT_EQ(refusal(object), "not supported yet: attn_bias = true with attn_out_bias = false in sambay");
  object["attn_out_bias"] = true;
  EXPECT_TRUE(has_biases(object));
}

TEST(ArchScaleConfig, SizesThatTheTrainingCodeComputesNeedNotBeSaid) {
  nlohmann::json object = sambay();
  for (const char* key : {"padded_vocab_size", "n_query_groups", "intermediate_size", "rnn_per_layer"})
    object.erase(key);
  EXPECT_NE(refusal(object), "");
  object.update({{"vocab_size", 97}, {"padding_multiple", 64}, {"mlp_expand", 3}});
  const ModelPlan plan = plan_of(object);
  EXPECT_EQ(plan.dims.vocab_size, 128);
  EXPECT_EQ(plan.spec.num_key_value_heads, 4);
  EXPECT_EQ(plan.spec.intermediate_size, 96);
  object["intermediate_size"] = 64;
  EXPECT_EQ(plan_of(object).spec.intermediate_size, 64);
}

TEST(ArchScaleConfig, AnUnknownVariantIsNotSupportedYet) {
  const Result<ModelSpec> spec = read_archscale_config(config("sambaw_d8"));
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().kind, ErrorKind::kNotSupported);
}

TEST(ArchScaleConfig, AHeadsWidthFollowsFromTheModels) {
  nlohmann::json object = sambay();
  object["head_dim"] = nullptr;
  EXPECT_EQ(std::get<Attention>(plan_of(object).segments.front().layers.at(1).mixer).head_dim, 8);
}

TEST(ArchScaleConfig, ScoresOfMuPAreScaledFromTheBaseHead) {
  nlohmann::json object = sambay();
  object.update({{"mup", true}, {"mup_d0", 16}, {"mup_hd0", 32}, {"tied_embed", true}});
  const auto scale = [&] {
    return std::get<Attention>(plan_of(object).segments.front().layers.at(1).mixer).scale;
  };
  EXPECT_NEAR(scale(), std::sqrt(32.0) / 8, 1e-7);
  object["head_dim"] = nullptr;
  EXPECT_NEAR(scale(), std::sqrt(32.0) / 8, 1e-7);
  object["mup_hd0"] = 128;
  EXPECT_NEAR(scale(), std::sqrt(128.0) / 8, 1e-7);
  object["mup"] = false;
  object["mup_hd0"] = 32;
  EXPECT_NEAR(scale(), 1 / std::sqrt(8.0), 1e-7);
  object["mup"] = true;
  object["mup_hd0"] = 0;
  EXPECT_EQ(refusal(object), "mup_hd0: found 0, expected at least 1");
}

}  // namespace
}  // namespace fathom
