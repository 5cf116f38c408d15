// Descriptions of reference cases of Mixture-of-Recursions that the recorded ones do not cover.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

// A vanilla model of six layers.
json described() {
  const json sizes = {{"vocab_size", 97},         {"hidden_size", 32},
                      {"intermediate_size", 64},  {"num_attention_heads", 4},
                      {"num_key_value_heads", 2}, {"max_position_embeddings", 64}};
  json config = {{"plain", sizes}, {"llama_config", sizes}, {"authors_config", json::object()}};
  config["plain"]["num_layers_unrolled"] = config["llama_config"]["num_hidden_layers"] = 6;
  config["plain"]["tie_word_embeddings_flag"] = true;
  return config;
}

json recursive(const std::string& sharing, int64_t num_recursion) {
  json config = described();
  config["plain"].update({{"sharing", sharing}, {"num_recursion", num_recursion}});
  return config;
}

json routed(const std::string& sharing, const std::string& type) {
  json config = recursive(sharing, 2);
  const json expert = {{"type", "expert"}, {"sampling", "aux_loss"}, {"score_function", "sigmoid"}},
             token = {{"type", "token"}, {"balancing", "loss"}, {"score_function", "softmax"}};
  config["plain"]["mor"] = type == "expert" ? expert : token;
  return config;
}

ModelSpec read(const json& config) {
  const Result<ModelSpec> spec = parse_config_json(config.dump(), "config.json");
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  return spec.ok() ? *spec : ModelSpec();
}

std::string refusal(const json& config) {
  const Result<ModelSpec> spec = parse_config_json(config.dump(), "config.json");
  return spec.ok() ? "accepted" : spec.error().message;
}

TEST(MorCaseConfig, OnlyExpertChoiceOverMiddleCycleUpdatesItsKeys) {
  const auto kv_of = [](json config, bool update) {
    config["plain"]["kv_sharing"] = {{"enable", true}, {"num_recursion", 2}, {"update_cache", update}};
    const ModelSpec spec = read(config);
    EXPECT_TRUE(build_plan(spec).ok()) << build_plan(spec).error().message;
    return spec.kv;
  };
  EXPECT_EQ(kv_of(routed("middle_cycle", "expert"), true), KvMode::kHybrid);
  EXPECT_EQ(kv_of(routed("middle_cycle", "expert"), false), KvMode::kShared);
  EXPECT_EQ(kv_of(routed("cycle", "expert"), true), KvMode::kShared);
  EXPECT_EQ(kv_of(routed("middle_cycle", "token"), true), KvMode::kShared);
  for (const char* sharing : {"cycle", "sequence", "middle_cycle"})
    EXPECT_EQ(kv_of(recursive(sharing, 2), true), KvMode::kShared) << sharing;
}

TEST(MorCaseConfig, ARouterHasThePublishedDefaultsOfItsKind) {
  const auto router_of = [](const char* type, const json& given) {
    json config = recursive("middle_cycle", 2);
    config["plain"]["mor"] = {{"type", type}};
    config["plain"]["mor"].update(given);
    return *read(config).router;
  };
  const RouterSpec token = router_of("token", json::object());
  EXPECT_EQ(token, default_router(RouterKind::kTokenChoice));
  EXPECT_EQ(token.alpha, 1.0);
  EXPECT_EQ(token.loss_coefficient, 0.1);
  EXPECT_EQ(router_of("token", {{"score_function", "sigmoid"}}).alpha, 0.1);
  EXPECT_EQ(router_of("token", {{"score_function", "sigmoid"}, {"alpha", 0.5}}).alpha, 0.5);
  const RouterSpec expert = router_of("expert", {{"capacity", nullptr}});
  EXPECT_EQ(expert, default_router(RouterKind::kExpertChoice));
  EXPECT_EQ(router_of("expert", {{"score_function", nullptr}}).score, ScoreFunction::kNone);
  EXPECT_EQ(router_of("expert", {{"z_loss", true}}).z_coefficient, 1e-3);
  EXPECT_EQ(router_of("expert", {{"z_coeff", 0.5}}).z_coefficient, 0);
}

TEST(MorCaseConfig, TheSizeOfAHeadMayBeSaidOnce) {
  json config = described();
  config["plain"]["head_dim"] = 16;
  EXPECT_EQ(read(config).head_dim, 16);
  config["llama_config"]["head_dim"] = 8;
  EXPECT_EQ(refusal(config), "config.json: head_dim: plain says 16, llama_config 8");
}

TEST(MorCaseConfig, AnAttentionScaleOtherThanTheUsualOneIsKept) {
  json config = described();
  config["plain"]["attention_scale"] = 0.3535533905932738;  // heads of 8
  EXPECT_EQ(read(config).attention_scale, 0);
  config["plain"]["attention_scale"] = 0.5;
  EXPECT_EQ(read(config).attention_scale, 0.5);
}

TEST(MorCaseConfig, VanillaWeightsShareKeysByAnyStrategy) {
  for (const char* sharing : {"cycle", "sequence", "middle_cycle"}) {
    json config = described();
    config["plain"]["kv_sharing"] = {{"enable", true}, {"num_recursion", 2}, {"sharing", sharing}};
    const ModelSpec spec = read(config);
    EXPECT_EQ(spec.sharing, Sharing::kNone);
    EXPECT_EQ(spec.kv, KvMode::kShared);
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    std::vector<int32_t> repeats;
    for (const Segment& segment : plan->segments) repeats.push_back(segment.repeat);
    const bool middle = std::string(sharing) == "middle_cycle", cycle = std::string(sharing) == "cycle";
    EXPECT_EQ(repeats, middle  ? (std::vector<int32_t>{1, 2, 1})
                       : cycle ? (std::vector<int32_t>{2})
                               : (std::vector<int32_t>{2, 2, 2}));
    EXPECT_FALSE(spec.tie_word_embeddings) << "the class of plain recursive models";
  }
  json once = described();
  once["plain"]["kv_sharing"] = {{"enable", true}, {"num_recursion", 1}, {"sharing", "sequence"}};
  EXPECT_EQ(read(once).kv, KvMode::kRecursionWise);
  EXPECT_TRUE(build_plan(read(once)).ok());
}

// The configuration may have been written before or after layers were taken away.
TEST(MorCaseConfig, OneRecursionKeepsItsBaseDepth) {
  for (const int64_t in_plain : {6, 2}) {
    for (const int64_t in_llama : {6, 2}) {
      for (const bool by_authors : {false, true}) {
        json config = recursive("sequence", 1);
        config["plain"]["num_layers_unrolled"] = in_plain;
        config["llama_config"]["num_hidden_layers"] = in_llama;
        config["plain"]["share_norm_weights"] = false;  // nothing is shared
        config["plain"]["base_depth"] = by_authors ? 6 : 2;
        if (by_authors)
          config["authors_config"]["recursive"] = {{"base_depth", 2}, {"initialization", "stepwise"}};
        const ModelSpec spec = read(config);
        EXPECT_EQ(spec.base_depth, 2);
        EXPECT_EQ(spec.num_hidden_layers, std::max(in_plain, in_llama));
        const Result<ModelPlan> plan = build_plan(spec);
        ASSERT_TRUE(plan.ok()) << plan.error().message;
        EXPECT_EQ(plan->num_unrolled_layers(), 2);
      }
    }
  }
  EXPECT_EQ(refusal(recursive("cycle", 1)),
            "config.json: plain.base_depth: found 0, expected the layers that num_recursion = 1 keeps");
}

TEST(MorCaseConfig, NumbersOfLayersAreThoseBeforeOrAfterSomeAreDropped) {
  json config = recursive("middle_cycle", 3);
  config["plain"]["num_layers_unrolled"] = 8;
  config["llama_config"]["num_hidden_layers"] = 10;
  EXPECT_EQ(read(config).num_hidden_layers, 10);
  EXPECT_EQ(build_plan(read(config))->num_unrolled_layers(), 8);
  config["llama_config"]["num_hidden_layers"] = 11;
  EXPECT_EQ(refusal(config), "config.json: num_layers_unrolled: plain says 8, llama_config 11");
}

// In steps of token choice; under expert choice, where it is null, the learning rate's.
TEST(MorCaseConfig, WarmupsAreCountedInForwardCalls) {
  json token = routed("middle_cycle", "token");
  token["plain"]["mor"]["bal_warmup_step"] = 3;
  EXPECT_EQ(read(token).router->balance_warmup_steps, 3);
  token["authors_config"] = {{"gradient_accumulation_steps", 4},
                             {"mor", {{"token", {{"bal_warmup_step", 3}}}}}};
  EXPECT_EQ(read(token).router->balance_warmup_steps, 12);
  token["authors_config"]["mor"]["token"]["bal_warmup_step"] = nullptr;
  EXPECT_EQ(read(token).router->balance_warmup_steps, 0);
  token["authors_config"]["mor"]["token"]["bal_warmup_step"] = int64_t{1} << 62;
  EXPECT_EQ(refusal(token),
            "config.json: authors_config.mor.token.bal_warmup_step: found 4611686018427387904 steps of "
            "gradient_accumulation_steps = 4, expected a number of forward calls");

  json expert = routed("middle_cycle", "expert");
  expert["plain"]["mor"]["cap_warmup_step"] = nullptr;
  EXPECT_EQ(read(expert).router->capacity_warmup_steps, 0);
  expert["authors_config"] = {{"gradient_accumulation_steps", 4},
                              {"num_warmup_steps", 5},
                              {"num_train_steps", 90},
                              {"mor", {{"expert", {{"cap_warmup_step", nullptr}}}}}};
  EXPECT_EQ(read(expert).router->capacity_warmup_steps, 20);
  expert["authors_config"]["num_warmup_steps"] = nullptr;  // five hundredths of all steps, rounded down
  EXPECT_EQ(read(expert).router->capacity_warmup_steps, 16);
  expert["authors_config"]["mor"]["expert"]["cap_warmup_step"] = 7;
  EXPECT_EQ(read(expert).router->capacity_warmup_steps, 7);
}

TEST(MorCaseConfig, AdaptersHaveTheRanksAndScalesOfTheirPatterns) {
  json config = recursive("cycle", 2);
  config["plain"]["relaxation"] = {{"enable", true},
                                   {"method", "lora"},
                                   {"lora",
                                    {{"r", 4},
                                     {"alpha", 12},
                                     {"target_modules", {"q_proj", "v_proj", "o_proj", "up_proj"}},
                                     {"rank_pattern", {{"self_attn", 20}, {"ffn", 3}}},
                                     {"alpha_pattern", 2.0}}}};
  const auto figures = [&] {
    const Result<ModelPlan> plan = build_plan(read(config));
    EXPECT_TRUE(plan.ok()) << plan.error().message;
    std::pair<std::vector<int64_t>, std::vector<double>> found;
    for (const AdaptedMatrix& matrix : adapted_matrices(plan->segments[0].layers[0])) {
      found.first.push_back(matrix.adapter->rank);
      found.second.push_back(matrix.adapter->scaling);
    }
    return found;
  };
  EXPECT_THAT(figures().first, ElementsAre(20, 16, 4, 3));
  EXPECT_THAT(figures().second, ElementsAre(2, 2, 2, 2));
  json& lora = config["plain"]["relaxation"]["lora"];
  lora["alpha_pattern"] = nullptr;
  lora["rank_pattern"]["ffn"] = nullptr;
  EXPECT_THAT(figures().first, ElementsAre(20, 16, 4, 4));
  EXPECT_THAT(figures().second, ElementsAre(12.0 / 20, 12.0 / 16, 3, 3));
  lora["rank_pattern"] = nullptr;
  EXPECT_THAT(figures().first, ElementsAre(4, 4, 4, 4));
}

}  // namespace
}  // namespace fathom
