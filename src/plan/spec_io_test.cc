#include "plan/spec_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

#include "plan/count.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

std::vector<std::string> built_in_specs() {
  std::vector<std::string> paths;
  const std::string folder = std::string(FATHOM_SOURCE_DIR) + "/configs/models";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(SpecIo, EveryBuiltInSpecBuildsAndSurvivesConfigJson) {
  const std::vector<std::string> paths = built_in_specs();
  ASSERT_GE(paths.size(), 50U);
  for (const std::string& path : paths) {
    const Result<ModelSpec> spec = load_spec(path);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    const Result<ModelPlan> plan = build_plan(*spec);
    ASSERT_TRUE(plan.ok()) << path << ": " << plan.error().message;
    const Result<ModelSpec> built = parse_config_json(write_config_json(plan->spec), "config.json");
    ASSERT_TRUE(built.ok()) << built.error().message;
    // An absent rope_theta of a plain Llama is written as the number that it means.
    ModelSpec expected = plan->spec;
    if (expected.architecture == "llama" && !built->router && expected.sharing == Sharing::kNone &&
        expected.kv == KvMode::kRecursionWise)
      expected.rope_theta = expected.rope_theta.value_or(10000);
    EXPECT_TRUE(*built == expected) << path;
  }
}

TEST(SpecIo, TinySpecsAreSmall) {
  int tiny_specs = 0;
  for (const std::string& path : built_in_specs()) {
    if (path.find("/tiny/") == std::string::npos) continue;
    const ModelPlan plan = *build_plan(*load_spec(path));
    EXPECT_LT(count_parameters(plan).unique, 200000) << path;
    ++tiny_specs;
  }
  EXPECT_GE(tiny_specs, 20);
}

TEST(SpecIo, EveryFieldSurvivesConfigJson) {
  ModelSpec spec = tiny_mor(Sharing::kMiddleCycle, 2);
  spec.norm_eps = 1e-6;
  spec.initializer_range = 0.03;
  spec.rope_theta = 640000;
  spec.rope_table_bf16 = true;
  spec.rope_frequencies_bf16 = true;
  spec.sliding_window = 7;
  spec.attention_scale = 0.25;
  spec.attention_bias = true;
  spec.mamba_expand = 3;
  spec.mamba_d_state = 8;
  spec.mamba_d_conv = 3;
  spec.mamba2_d_state = 9;
  spec.mamba2_head_dim = 10;
  spec.mamba2_inner_multiple = 11;
  spec.gdn_key_dim = 12;
  spec.gdn_value_dim = 13;
  spec.share_norms = false;
  spec.share_attention = false;
  spec.kv = KvMode::kHybrid;
  spec.kv_sharing = Sharing::kSequence;
  spec.initialization = Initialization::kUpper;
  spec.base_depth = 5;
  spec.parametrisation = Parametrisation::kMuP;
  spec.mup_base_depth = 8;
  spec.router = RouterSpec{.kind = RouterKind::kTokenChoice,
                           .network = RouterNetwork::kWideMlp,
                           .score = ScoreFunction::kSoftmax,
                           .gating = Gating::kAdditive,
                           .loss = RouterLoss::kAuxRouter,
                           .alpha = 0.7,
                           .temperature = 2,
                           .mlp_ratio = 4,
                           .loss_coefficient = 0.3,
                           .bias_update = 0.02,
                           .loss_per_step = true,
                           .z_coefficient = 0.4,
                           .capacity_warmup_steps = 11,
                           .balance_warmup_steps = 12,
                           .random = true,
                           .capacity = {1.0, 2.0 / 3.0},
                           .capacity_low = {1.0, 0.25},
                           .threshold = {0, -0.125}};
  const Result<ModelSpec> read = parse_config_json(write_config_json(spec), "config.json");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(*read == spec);
}

TEST(SpecIo, PlainLlamaIsWrittenAsHuggingFacesLlama) {
  const nlohmann::json config = nlohmann::json::parse(write_config_json(tiny()));
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(nlohmann::json::parse(write_config_json(hybrid("sambay", 8)))["model_type"], "fathom");
}

// What public Llama configurations look like, with the keys that say nothing about the model.
TEST(SpecIo, ReadsAHuggingFaceLlama) {
  const std::string text =
      R"({"_name_or_path": "x", "architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576,
    "initializer_range": 0.02, "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 2048,
    "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
    "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_interleaved": false,
    "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152})";
  const Result<ModelSpec> spec = parse_config_json(text, "config.json");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  EXPECT_EQ(count_parameters(*build_plan(*spec)).unique, 134515008);
}

// Keys of the hub that do not change the function, known or not.
TEST(SpecIo, PassesOverWhatChangesNothingInAPublishedConfiguration) {
  const std::string llama = write_config_json(tiny());
  const std::string phi = R"({"model_type": "phi4flash", "vocab_size": 97, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "sliding_window": 5})";
  const char* fields[] = {R"("unsloth_version": "2025.3")",
                          R"("is_encoder_decoder": false)",
                          R"("quantization_config": null)",
                          R"("auto_map": {"AutoConfig": "a.B"})",
                          R"("tokenizer_class": "T")",
                          R"("_flash_attn_2_enabled": true)",
                          R"("attention_dropout": 0.1)",
                          R"("pretraining_tp": 2)",
                          R"("rope_scaling": {"rope_type": "default"})",
                          R"("rope_scaling": {"type": "default"})",
                          R"("resid_pdrop": 0.1)"};
  for (const std::string& good : {llama, phi}) {
    const ModelSpec expected = *parse_config_json(good, "c.json");
    for (const char* field : fields) {
      nlohmann::json config = nlohmann::json::parse(good);
      config.update(nlohmann::json::parse("{" + std::string(field) + "}"));
      const Result<ModelSpec> spec = parse_config_json(config.dump(), "c.json");
      ASSERT_TRUE(spec.ok()) << field << ": " << spec.error().message;
      EXPECT_TRUE(*spec == expected) << field;
    }
  }
  // Those of a Llama alone.
  for (const char* field :
       {R"("rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0, "other": 3})",
        R"("partial_rotary_factor": 1)", R"("sliding_window": null)", R"("sliding_window": 1000000)",
        R"("sliding_window": 4, "use_sliding_window": false)", R"("layer_types": ["full_attention"])"}) {
    nlohmann::json config = nlohmann::json::parse(llama);
    config.update(nlohmann::json::parse("{" + std::string(field) + "}"));
    const Result<ModelSpec> spec = parse_config_json(config.dump(), "c.json");
    ASSERT_TRUE(spec.ok()) << field << ": " << spec.error().message;
    EXPECT_TRUE(*spec == *parse_config_json(llama, "c.json")) << field;
  }
}

TEST(SpecIo, TheBaseOfPositionsIsReadUnderEveryKey) {
  nlohmann::json config = nlohmann::json::parse(write_config_json(tiny()));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    nlohmann::json changed = config;
    changed.erase("rope_theta");
    changed[key] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
    const Result<ModelSpec> spec = parse_config_json(changed.dump(), "c.json");
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    EXPECT_EQ(spec->rope_theta, 500000.0) << key;
  }
}

TEST(SpecIo, AllThatAPublishedConfigurationSaysOfARecursionIsItsSharedKeys) {
  const std::string head = R"({"model_type": "llama", "vocab_size": 97, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4, "kv_sharing": )";
  const Result<ModelSpec> off =
      parse_config_json(head + R"({"enable": false, "sharing": null}})", "config.json");
  ASSERT_TRUE(off.ok()) << off.error().message;
  EXPECT_EQ(off->sharing, Sharing::kNone);
  const Result<ModelSpec> on = parse_config_json(
      head + R"({"enable": true, "base_depth": 2, "num_recursion": 3, "sharing": "middle_cycle",
        "update_cache": true}})",
      "config.json");
  ASSERT_TRUE(on.ok()) << on.error().message;
  EXPECT_EQ(on->sharing, Sharing::kMiddleCycle);
  EXPECT_EQ(on->num_recursion, 3);
  EXPECT_EQ(on->kv, KvMode::kHybrid);
  const Result<ModelSpec> cycle = parse_config_json(
      head + R"({"enable": true, "num_recursion": 2, "sharing": "cycle", "update_cache": true}})",
      "config.json");
  ASSERT_TRUE(cycle.ok()) << cycle.error().message;
  EXPECT_EQ(cycle->kv, KvMode::kShared) << "only the cache of middle_cycle looks at update_cache";
  EXPECT_EQ(parse_config_json(head + R"({"enable": true}})", "config.json").error().message,
            "config.json: kv_sharing.num_recursion: absent, expected an integer");
}

TEST(SpecIo, ReadsPhi4FlashWithAWindowPerLayer) {
  const std::string head = R"({"model_type": "phi4flash", "vocab_size": 97, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "tie_word_embeddings": true, "mamba_dt_rank": "auto",
    "rope_theta": 10000.0, "sliding_window": )";
  const Result<ModelSpec> whole = parse_config_json(head + "5}", "config.json");
  const Result<ModelSpec> listed =
      parse_config_json(head + "[null, 5, null, 5, null, null, null, null]}", "config.json");
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  ASSERT_TRUE(listed.ok()) << listed.error().message;
  EXPECT_TRUE(*whole == *listed);
  EXPECT_EQ(
      parse_config_json(head + "[null, 5, null, 5, null, 5, null, null]}", "config.json").error().message,
      "config.json: sliding_window: entry 5 is 5, expected null");
  EXPECT_TRUE(build_plan(*whole).ok());
  // Names of layers are passed over unless they contradict.
  const std::string types = head + R"(5, "layer_types": ["mamba", "sliding_attention", "mamba", )";
  EXPECT_TRUE(*parse_config_json(types + R"("x", "mamba", "full_attention", "", "y"]})", "c") == *whole);
  EXPECT_EQ(parse_config_json(types + R"("full_attention", "mamba", "full_attention", "", "y"]})", "c")
                .error()
                .message,
            "c: layer_types: entry 3 is \"full_attention\", expected the name of a windowed layer");
  EXPECT_EQ(parse_config_json(types + R"("x", "mamba", "sliding_attention", "", "y"]})", "c").error().message,
            "c: layer_types: entry 5 is \"sliding_attention\", expected the name of one without a window");
  EXPECT_EQ(parse_config_json(types + R"("x", "mamba", 7, "", "y"]})", "c").error().message,
            "c: layer_types: entry 5 is 7, expected the name of one without a window");
}

TEST(SpecIo, ScalesOfTheReferenceCasesFollowFromTheirConfig) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: the reference cases";
  int compared = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(shared_folder() + "/fixtures/decoder-hybrid-decoder")) {
    const nlohmann::json described = read_json(entry.path().string() + "/case.json");
    if (!described.is_object() || !described.contains("scales") ||
        !described["scales"].contains("logit_scale"))
      continue;
    const Result<ModelSpec> spec = load_spec(entry.path().string());
    if (!spec.ok()) continue;
    const ModelPlan plan = *build_plan(*spec);
    SCOPED_TRACE(entry.path().string());
    EXPECT_DOUBLE_EQ(plan.logit_scale, described["scales"]["logit_scale"].get<double>());
    EXPECT_DOUBLE_EQ(plan.residual_scale, described["scales"]["residual_branch_scale"].get<double>());
    for (const Layer& layer : plan.segments[0].layers) {
      if (const auto* attention = std::get_if<Attention>(&layer.mixer)) {
        EXPECT_DOUBLE_EQ(attention->scale, described["scales"]["attention_softmax_scale"].get<double>());
      }
    }
    ++compared;
  }
  std::cout << "compared " << compared << " cases\n";
  EXPECT_GE(compared, 12);
}

}  // namespace
}  // namespace fathom
