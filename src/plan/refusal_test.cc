// What is refused, each with its exact sentence.
#include <gtest/gtest.h>

#include <functional>

#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

struct SpecRefusal {
  const char* sentence;
  std::function<void(ModelSpec&)> spoil;
};

void expect_refusals(const ModelSpec& good, const std::vector<SpecRefusal>& table) {
  ASSERT_TRUE(build_plan(good).ok()) << build_plan(good).error().message;
  for (const SpecRefusal& row : table) {
    ModelSpec spec = good;
    row.spoil(spec);
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_FALSE(plan.ok()) << row.sentence;
    EXPECT_EQ(plan.error().message, row.sentence);
    const bool later = std::string(row.sentence).starts_with("not supported yet");
    EXPECT_EQ(plan.error().kind, later ? ErrorKind::kNotSupported : ErrorKind::kInvalid) << row.sentence;
  }
}

TEST(Refusal, OfSizes) {
  expect_refusals(
      tiny(),
      {{"vocab_size: found 0, expected 1 to 16777216", [](auto& s) { s.vocab_size = 0; }},
       {"hidden_size: found -32, expected 1 to 1048576", [](auto& s) { s.hidden_size = -32; }},
       {"hidden_size: found 4611686018427387904, expected 1 to 1048576",
        [](auto& s) { s.hidden_size = int64_t{1} << 62; }},
       {"intermediate_size: found 0, expected 1 to 1048576", [](auto& s) { s.intermediate_size = 0; }},
       {"num_hidden_layers: found 5000, expected 1 to 4096", [](auto& s) { s.num_hidden_layers = 5000; }},
       {"num_key_value_heads: found 3, expected a divisor of num_attention_heads = 4",
        [](auto& s) { s.num_key_value_heads = 3; }},
       {"num_key_value_heads: found 8, expected 1 to 4", [](auto& s) { s.num_key_value_heads = 8; }},
       {"head_dim: absent, and hidden_size = 30 is not a multiple of num_attention_heads = 4",
        [](auto& s) {
          s.hidden_size = 30;
          s.head_dim = 0;
        }},
       {"num_attention_heads * head_dim: found 4194304, expected 1 to 1048576",
        [](auto& s) { s.head_dim = 1 << 20; }},
       {"layer 0: rotary embedding needs an even head size, found 7", [](auto& s) { s.head_dim = 7; }},
       {"norm_eps: found 0, expected a positive number", [](auto& s) { s.norm_eps = 0; }},
       {"rope_theta: found -1, expected a positive number", [](auto& s) { s.rope_theta = -1; }},
       {"plan: more than 70368744177664 parameters at layers.21.mlp.gate", [](auto& s) {
          s.hidden_size = s.intermediate_size = 1 << 20;
          s.num_hidden_layers = 100;
        }}});
}

TEST(Refusal, OfArchitectures) {
  expect_refusals(
      hybrid("sambay", 8),
      {{"architecture: found \"samba3\", expected one of llama, transformer, transformerls, samba, swayoco, "
        "sambayoco, sambay, sambayda, mambay, sambayattn, sambayattnall, sambaymlp, phi4flash, sambay2, "
        "mambay2, sgdny, gdny",
        [](auto& s) { s.architecture = "samba3"; }},
       {"mamba2_head_dim: found 3, expected a divisor of the inner width 512",
        [](auto& s) {
          s.architecture = "sambay2";
          s.mamba2_head_dim = 3;
        }},
       {"mamba2_d_state: found 0, expected 1 to 4096", [](auto& s) { s.mamba2_d_state = 0; }},
       {"mamba2_inner_multiple: found 0, expected 1 to 1048576",
        [](auto& s) { s.mamba2_inner_multiple = 0; }},
       {"gdn_key_dim: found 0, expected 1 to 4096", [](auto& s) { s.gdn_key_dim = 0; }},
       {"gdn_value_dim: found 5000, expected 1 to 4096", [](auto& s) { s.gdn_value_dim = 5000; }},
       {"hidden_size: found 1, expected at least 2 for gdny",
        [](auto& s) {
          s.architecture = "gdny";
          s.hidden_size = 1;
        }},
       {"num_hidden_layers: found 6, expected a multiple of 4 for sambay",
        [](auto& s) { s.num_hidden_layers = 6; }},
       {"sliding_window: found -1, expected 0 to 1073741824", [](auto& s) { s.sliding_window = -1; }},
       {"sliding_window: no layer of mambay is windowed, expected 0",
        [](auto& s) {
          s.architecture = "mambay";
          s.sliding_window = 4;
        }},
       {"rope_theta: sambay has no positional encoding", [](auto& s) { s.rope_theta = 10000; }},
       {"num_recursion: found 2 without a sharing strategy, expected 1 for sambay",
        [](auto& s) {
          s.num_recursion = 2;
          s.kv = KvMode::kShared;
        }},
       {"num_key_value_heads: found 1, expected an even number for the head pairs of differential attention",
        [](auto& s) {
          s.architecture = "sambayda";
          s.num_key_value_heads = 1;
        }}});
}

TEST(Refusal, OfCrossDecodersThatRecur) {
  ModelSpec good = hybrid("sambay", 12);
  good.sharing = Sharing::kCycle;
  good.num_recursion = 2;
  expect_refusals(
      good,
      {{"sharing: found \"cycle\", but only a cross-decoder may recur, and samba has none",
        [](auto& s) { s.architecture = "samba"; }},
       {"sharing: phi4flash is a published layout, which has no recursion",
        [](auto& s) { s.architecture = "phi4flash"; }},
       {"sharing: found \"middle_cycle\", expected \"cycle\", which repeats the cross-decoder of sambay as a "
        "whole",
        [](auto& s) { s.sharing = Sharing::kMiddleCycle; }},
       {"num_hidden_layers: found 12, whose cross-decoder of 4 layers is not a multiple of 6 for 3 "
        "recursions "
        "of sambay",
        [](auto& s) { s.num_recursion = 3; }},
       {"num_hidden_layers: found 4, whose cross-decoder of 0 layers is not a multiple of 4 for 2 recursions "
        "of sambay",
        [](auto& s) { s.num_hidden_layers = 4; }},
       {"num_hidden_layers: found 6, expected a multiple of 4 for sambay",
        [](auto& s) { s.num_hidden_layers = 6; }},
       {"initialization: defined for llama, not for sambay",
        [](auto& s) { s.initialization = Initialization::kStepwise; }},
       {"kv: found \"shared\", but the cross-decoder of sambay writes no keys and values",
        [](auto& s) { s.kv = KvMode::kShared; }},
       {"share_attention: found false, which is defined for llama only",
        [](auto& s) { s.share_attention = false; }},
       {"relaxation: defined for llama, not for sambay", [](auto& s) { s.relaxation = RelaxationSpec{}; }},
       {"router.capacity: found 3 entries, expected 2, one per recursion", [](auto& s) {
          s.router = RouterSpec{};
          s.router->capacity = {1, 0.5, 0.25};
        }}});
}

TEST(Refusal, OfRecursion) {
  expect_refusals(
      tiny_recursive(Sharing::kMiddleCycle, 3),
      {{"num_recursion: found 1, expected 2 to 64", [](auto& s) { s.num_recursion = 1; }},
       {"num_recursion: found 3 without a sharing strategy, expected 1",
        [](auto& s) { s.sharing = Sharing::kNone; }},
       {"num_hidden_layers: found 8, expected at least 9 for 7 recursions of middle_cycle",
        [](auto& s) { s.num_recursion = 7; }},
       {"num_hidden_layers: 6 repeated layers are not a multiple of num_recursion = 4, and shared keys and "
        "values are undefined for layers that are dropped",
        [](auto& s) {
          s.num_recursion = 4;
          s.kv = KvMode::kShared;
        }},
       {"base_depth: found 2 with num_recursion = 3, expected num_recursion = 1, the baseline of reduced "
        "depth",
        [](auto& s) { s.base_depth = 2; }},
       {"initialization: found \"average\" without a sharing strategy, expected none: there are no shared "
        "layers to start",
        [](auto& s) {
          s.sharing = Sharing::kNone;
          s.num_recursion = 1;
          s.initialization = Initialization::kAverage;
        }},
       {"base_depth: found 2 without a sharing strategy, expected none",
        [](auto& s) {
          s.sharing = Sharing::kNone;
          s.num_recursion = 1;
          s.base_depth = 2;
        }},
       {"kv: found \"hybrid\", which is defined for expert choice only",
        [](auto& s) { s.kv = KvMode::kHybrid; }},
       {"kv: found \"hybrid\", which is defined for routed models only",
        [](auto& s) {
          s.sharing = Sharing::kNone;
          s.kv = KvMode::kHybrid;
        }},
       {"num_hidden_layers: 8 repeated layers are not a multiple of num_recursion = 3, and shared keys and "
        "values are undefined for layers that are dropped",
        [](auto& s) {
          s.sharing = Sharing::kNone;
          s.kv = KvMode::kShared;
        }},
       {"sliding_window: no layer of llama is windowed, expected 0", [](auto& s) { s.sliding_window = 4; }},
       {"parametrisation: muP is defined for the hybrid study's architectures, not for llama",
        [](auto& s) { s.parametrisation = Parametrisation::kMuP; }}});
}

TEST(Refusal, OfStrategiesOfKeysAlone) {
  ModelSpec good = tiny();
  good.kv = KvMode::kShared;
  good.num_recursion = 3;
  good.kv_sharing = Sharing::kMiddleCycle;
  const char* alike =
      "kv_sharing: found \"middle_cycle\", which is defined for kv = \"shared\" without shared weights: "
      "layers "
      "that share these share keys and values alike";
  expect_refusals(
      good,
      {{alike, [](auto& s) { s.sharing = Sharing::kMiddleCycle; }},
       {alike,
        [](auto& s) {
          s.kv = KvMode::kRecursionWise;
          s.num_recursion = 1;
        }},
       {"kv_sharing: found \"none\", expected a strategy; kv = \"recursion_wise\" is to share none",
        [](auto& s) { s.kv_sharing = Sharing::kNone; }},
       {"num_hidden_layers: 8 repeated layers are not a multiple of num_recursion = 3, and shared keys and "
        "values are undefined for layers that are dropped",
        [](auto& s) { s.kv_sharing = Sharing::kSequence; }},
       {"num_hidden_layers: 0 repeated layers are not a multiple of num_recursion = 3, and shared keys and "
        "values are undefined for layers that are dropped",
        [](auto& s) { s.num_hidden_layers = 2; }}});
}

TEST(Refusal, OfReducedDepth) {
  ModelSpec good = tiny_recursive(Sharing::kSequence, 1);
  good.base_depth = 3;
  const char* no_recursions =
      "base_depth: a model of reduced depth has no recursions, expected neither a router nor kv, share_norms "
      "or share_attention beside it";
  expect_refusals(
      good, {{"base_depth: found 9, expected 1 to 8", [](auto& s) { s.base_depth = 9; }},
             {"base_depth: found -1, expected 1 to 8", [](auto& s) { s.base_depth = -1; }},
             {"sharing: found \"middle_cycle\", but base_depth is defined for \"cycle\" and \"sequence\"",
              [](auto& s) { s.sharing = Sharing::kMiddleCycle; }},
             {no_recursions, [](auto& s) { s.share_norms = false; }},
             {no_recursions, [](auto& s) { s.kv = KvMode::kShared; }},
             {no_recursions, [](auto& s) { s.router = RouterSpec{}; }}});
}

TEST(Refusal, OfRouters) {
  expect_refusals(
      tiny_mor(Sharing::kMiddleCycle, 3),
      {{"sharing: found \"sequence\", but a routed model needs \"cycle\" or \"middle_cycle\"",
        [](auto& s) { s.sharing = Sharing::kSequence; }},
       {"router.capacity: found 2 entries, expected 3, one per recursion",
        [](auto& s) {
          s.router->capacity = {1, 0.5};
        }},
       {"router.capacity: entry 2 is 0.75, which is more than the 0.5 before it",
        [](auto& s) {
          s.router->capacity = {1, 0.5, 0.75};
        }},
       {"router.capacity: entry 2 is 0, expected above 0 and at most 1",
        [](auto& s) {
          s.router->capacity = {1, 0.5, 0};
        }},
       {"router.capacity_low: found 1 entries, expected 3, one per recursion",
        [](auto& s) { s.router->capacity_low = {0.5}; }},
       {"router.capacity_low: entry 2 is 0.5, which is more than the 0.25 before it",
        [](auto& s) {
          s.router->capacity_low = {1, 0.25, 0.5};
        }},
       {"router.capacity_low: entry 1 is 0.75, which is more than the capacity of 0.5",
        [](auto& s) {
          s.router->capacity = {1, 0.5, 0.25};
          s.router->capacity_low = {1, 0.75, 0.25};
        }},
       {"router.threshold: found 1 entries, expected 3, one per recursion",
        [](auto& s) { s.router->threshold = {0}; }},
       {"router.alpha: found 0, expected a positive number", [](auto& s) { s.router->alpha = 0; }},
       {"router.score: found \"softmax\", which is defined for token choice only",
        [](auto& s) { s.router->score = ScoreFunction::kSoftmax; }},
       {"router.loss: found \"none\", but expert choice that learns no decision cannot route causally; "
        "expected "
        "\"aux_loss\" or \"aux_router\"",
        [](auto& s) { s.router->loss = RouterLoss::kNone; }},
       {"router.loss: found \"balancing\", which is defined for token choice only",
        [](auto& s) { s.router->loss = RouterLoss::kBalancing; }},
       {"router.balance_warmup_steps: defined for token choice only, expected 0",
        [](auto& s) { s.router->balance_warmup_steps = 3; }},
       {"router.mlp_ratio: found 0, expected 1 to 64", [](auto& s) { s.router->mlp_ratio = 0; }},
       {"router.loss: an auxiliary router cannot learn random scores", [](auto& s) {
          s.router->random = true;
          s.router->loss = RouterLoss::kAuxRouter;
        }}});
  ModelSpec token = tiny_mor(Sharing::kMiddleCycle, 3);
  token.router = default_router(RouterKind::kTokenChoice);
  ASSERT_TRUE(build_plan(token).ok());
  expect_refusals(
      token, {{"sharing: token choice is defined for \"middle_cycle\" only, found \"cycle\"",
               [](auto& s) {
                 s.sharing = Sharing::kCycle;
                 s.num_hidden_layers = 6;
               }},
              {"router.score: found \"tanh\", expected \"softmax\" or \"sigmoid\" for token choice",
               [](auto& s) { s.router->score = ScoreFunction::kTanh; }},
              {"router.loss: found \"aux_loss\", which is defined for expert choice only",
               [](auto& s) { s.router->loss = RouterLoss::kAuxLoss; }},
              {"router.loss: found \"balancing\", but random scores of token choice learn nothing; expected "
               "\"none\"",
               [](auto& s) { s.router->random = true; }},
              {"router.z_coefficient: random scores of token choice have no logits, expected 0",
               [](auto& s) {
                 s.router->random = true;
                 s.router->loss = RouterLoss::kNone;
                 s.router->z_coefficient = 0.1;
               }},
              {"router.capacity_warmup_steps: defined for expert choice only, expected 0",
               [](auto& s) { s.router->capacity_warmup_steps = 3; }},
              {"router.capacity_low: defined for expert choice only",
               [](auto& s) {
                 s.router->capacity_low = {1, 0.5, 0.25};
               }},
              {"kv: found \"hybrid\", which is defined for expert choice only",
               [](auto& s) { s.kv = KvMode::kHybrid; }},
              {"router.bias_update: found -1, expected zero or a positive number",
               [](auto& s) { s.router->bias_update = -1; }}});
}

constexpr const char* kGoodToml = R"(architecture = "sambay"
vocab_size = 97
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 8
num_attention_heads = 4
num_key_value_heads = 2
)";

TEST(Refusal, OfTomlFields) {
  ASSERT_TRUE(parse_spec_toml(kGoodToml, "m.toml").ok());
  const std::pair<const char*, const char*> table[] = {
      {"colour = 1", "m.toml: unknown key colour"},
      {"head_dim = \"big\"", "m.toml: head_dim: found \"big\", expected an integer"},
      {"head_dim = 8.5", "m.toml: head_dim: found 8.5, expected an integer"},
      {"tie_word_embeddings = 1", "m.toml: tie_word_embeddings: found 1, expected true or false"},
      {"sliding_window = 0", "m.toml: sliding_window: found 0, expected at least 1 (the token itself)"},
      {"sharing = \"circle\"",
       "m.toml: sharing: found \"circle\", expected one of \"none\", \"cycle\", \"sequence\", "
       "\"middle_cycle\", "
       "\"middle_sequence\""},
      {"[router]\nalfa = 0.1", "m.toml: unknown key router.alfa"},
      {"[router]\ncapacity = [1.0, \"half\"]",
       "m.toml: router.capacity: found [1.0,\"half\"], expected a list of numbers"},
      {"router = 3", "m.toml: router: expected an object"},
      {"norm_eps = 1979-05-27", "m.toml: norm_eps: dates have no meaning here"},
  };
  for (const auto& [line, sentence] : table) {
    const Result<ModelSpec> spec = parse_spec_toml(std::string(kGoodToml) + line, "m.toml");
    ASSERT_FALSE(spec.ok()) << line;
    EXPECT_EQ(spec.error().message, sentence);
  }
  EXPECT_EQ(parse_spec_toml("architecture = \"llama\"", "m.toml").error().message,
            "m.toml: vocab_size: absent, expected an integer");
  EXPECT_TRUE(parse_spec_toml("a = = 1", "m.toml").error().message.starts_with("m.toml: line 1: "));
}

TEST(Refusal, OfConfigJson) {
  const std::string good = write_config_json(tiny());
  const std::pair<const char*, const char*> table[] = {
      {R"("rope_scaling": {"type": "linear"})",
       "c.json: not supported yet: rope_scaling = {\"type\":\"linear\"}"},
      {R"("hidden_act": "gelu")", "c.json: not supported yet: hidden_act = \"gelu\""},
      {R"("mlp_bias": true)", "c.json: not supported yet: mlp_bias = true"},
      {R"("rope_interleaved": true)", "c.json: not supported yet: rope_interleaved = true"},
      {R"("quantization_config": {})", "c.json: not supported yet: quantization_config = {}"},
      {R"("partial_rotary_factor": 0.5)", "c.json: not supported yet: partial_rotary_factor = 0.5"},
      {R"("rope_parameters": {"partial_rotary_factor": 0.5})",
       "c.json: not supported yet: rope_parameters.partial_rotary_factor = 0.5"},
      {R"("rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5})",
       "c.json: not supported yet: rope_scaling.partial_rotary_factor = 0.5"},
      {R"("sliding_window": 16)", "c.json: not supported yet: sliding_window = 16"},
      {R"("layer_types": ["full_attention", "sliding_attention"])",
       "c.json: not supported yet: layer_types = [\"full_attention\",\"sliding_attention\"]"},
      {R"("is_encoder_decoder": true)", "c.json: not supported yet: is_encoder_decoder = true"},
      {R"("vocab_size": 18446744073709551615)",
       "c.json: vocab_size: found 18446744073709551615, expected an integer"},
      {R"("model_type": "gpt2")",
       "c.json: not supported yet: model_type = \"gpt2\" (supported: \"llama\", \"phi4flash\", \"fathom\")"},
  };
  for (const auto& [field, sentence] : table) {
    nlohmann::json config = nlohmann::json::parse(good);
    config.update(nlohmann::json::parse("{" + std::string(field) + "}"));
    const Result<ModelSpec> spec = parse_config_json(config.dump(), "c.json");
    ASSERT_FALSE(spec.ok()) << field;
    EXPECT_EQ(spec.error().message, sentence);
  }
  EXPECT_EQ(parse_config_json("{", "c.json").error().message,
            "c.json: line 1, column 2: syntax error while parsing object key - unexpected end of input; "
            "expected string literal");
  EXPECT_EQ(parse_config_json("[]", "c.json").error().message, "c.json: is an array, expected an object");
  EXPECT_EQ(parse_config_json("{}", "c.json").error().message,
            "c.json: model_type: absent, expected \"llama\", \"phi4flash\" or \"fathom\"");
  EXPECT_EQ(parse_config_json(std::string(100000, '['), "c.json").error().message,
            "c.json: line 1, column 33: nested deeper than the limit of 32");
  EXPECT_EQ(load_spec("nowhere.yaml").ok(), false);
}

struct PlanRefusal {
  const char* sentence;
  std::function<void(ModelPlan&)> spoil;
};

TEST(Refusal, OfHandMadePlans) {
  const ModelPlan good = *build_plan(hybrid("sambay", 8));
  const auto layer = [](ModelPlan& plan, size_t index) -> Layer& { return plan.segments[0].layers[index]; };
  const PlanRefusal table[] = {
      {"layer 6: reads slot mem.4, which no earlier layer writes",
       [&](auto& p) { layer(p, 4).writes.pop_back(); }},
      {"layer 7: reads slot kv.5, which no earlier layer writes",
       [&](auto& p) { std::swap(layer(p, 5), layer(p, 7)); }},
      {"layer 3: writes slot kv.1, which layer 1 writes already",
       [&](auto& p) { layer(p, 3).writes = layer(p, 1).writes; }},
      {"layer 6: names slot 99 of 7", [&](auto& p) { layer(p, 6).reads = {99}; }},
      {"layer 1: attention writes no slot", [&](auto& p) { layer(p, 1).writes.clear(); }},
      {"slot kv.1: window 0, expected at least 1", [&](auto& p) { p.slots[1].window = 0; }},
      {"layer 1: window 128, but slot kv.1 keeps 64", [&](auto& p) { p.slots[1].window = 64; }},
      {"layer 0: writes slot ssm.0 of 2 copies, expected 1 for 1 depths",
       [&](auto& p) { p.slots[0].copies = 2; }},
      {"layer 1: attention.q is layers.1.attention.q of shape [32, 16], expected [32, 32]",
       [&](auto& p) {
         p.params[static_cast<size_t>(std::get<Attention>(layer(p, 1).mixer).q.first)].shape[1] = 16;
       }},
      {"layer 6: slot mem.4 is 64 wide, but the gated memory unit is 32",
       [&](auto& p) { std::get<GatedMemory>(layer(p, 6).mixer).inner = 32; }},
      {"layer 2: norm1.weight is missing", [&](auto& p) { layer(p, 2).norm1.weight = {}; }},
      {"segment of layer 0: repeat 0, expected at least 1", [&](auto& p) { p.segments[0].repeat = 0; }},
      {"router of layer 0: a segment without a router can only replace its input",
       [&](auto& p) { p.segments[0].combine = Combine::kWeighted; }},
      {"parameter embedding: named twice", [&](auto& p) { p.params[1].name = "embedding"; }},
      {"parameter embedding: shape [97, -1] is out of range", [&](auto& p) { p.params[0].shape[1] = -1; }},
  };
  ASSERT_TRUE(validate(good).ok());
  for (const PlanRefusal& row : table) {
    ModelPlan plan = good;
    row.spoil(plan);
    const Status status = validate(plan);
    ASSERT_FALSE(status.ok()) << row.sentence;
    EXPECT_EQ(status.error().message, row.sentence);
  }
}

TEST(Refusal, OfHandMadePlansOfRecurrentMixers) {
  struct Row {
    const char* architecture;
    const char* sentence;
    std::function<void(ModelPlan&)> spoil;
  };
  const auto layer = [](ModelPlan& plan, size_t index) -> Layer& { return plan.segments[0].layers[index]; };
  const Row table[] = {
      {"sambay2", "layer 0: 8 heads over 3 groups is not a grouping",
       [&](auto& p) { std::get<Mamba2>(layer(p, 0).mixer).groups = 3; }},
      {"sambay2", "layer 0: slot ssm.0 has other sizes than the Mamba-2 block",
       [&](auto& p) { p.slots[0].channels = 64; }},
      {"sambay2", "slot ssm.0: inner, state and convolution sizes must be positive",
       [&](auto& p) { p.slots[0].channels = 0; }},
      {"sambay2", "layer 0: mamba2.norm is missing",
       [&](auto& p) { std::get<Mamba2>(layer(p, 0).mixer).norm = {}; }},
      {"sambay2", "layer 6: gmu.norm_eps must be positive",
       [&](auto& p) { std::get<GatedMemory>(layer(p, 6).mixer).norm_eps = 0; }},
      {"sgdny", "layer 0: slot ssm.0 has other sizes than the Gated DeltaNet block",
       [&](auto& p) { p.slots[0].state = 64; }},
      {"sgdny",
       "layer 2: gated_delta.v_conv is layers.2.gated_delta.k_conv of shape [256, 4], expected [512, 4]",
       [&](auto& p) {
         auto& delta = std::get<GatedDelta>(layer(p, 2).mixer);
         delta.v_conv = delta.k_conv;
       }},
  };
  for (const Row& row : table) {
    ModelPlan plan = *build_plan(hybrid(row.architecture, 8));
    ASSERT_TRUE(validate(plan).ok());
    row.spoil(plan);
    const Status status = validate(plan);
    ASSERT_FALSE(status.ok()) << row.sentence;
    EXPECT_EQ(status.error().message, row.sentence);
  }
}

}  // namespace
}  // namespace fathom
