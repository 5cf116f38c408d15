// What relaxation gives to the depths of shared layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "plan/count.h"
#include "plan/describe.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "plan/work.h"

namespace fathom {
namespace {

using namespace testing_plan;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RelaxationMethod kMethods[] = {RelaxationMethod::kLora, RelaxationMethod::kDora,
                                         RelaxationMethod::kAdaptionPrompt,
                                         RelaxationMethod::kRecursionEncoding};

ModelPlan must(const ModelSpec& spec) {
  Result<ModelPlan> plan = build_plan(spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  return std::move(*plan);
}

// Unrolled layers for which `has` holds.
std::vector<int32_t> layers_with(const ModelPlan& plan, const std::function<bool(const Layer&)>& has) {
  std::vector<int32_t> out;
  int32_t unrolled = 0;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    if (has(layer)) out.push_back(unrolled);
    ++unrolled;
  });
  return out;
}

TEST(Relaxation, LayersHaveWhatTheMethodGivesThem) {
  const auto adapted = [](const Layer& layer) { return !adapted_matrices(layer).empty(); };
  const auto encoded = [](const Layer& layer) { return layer.encoding.present(); };
  const auto prompted = [](const Layer& layer) {
    return std::get<Attention>(layer.mixer).prompt.has_value();
  };
  const ModelSpec middle = tiny_recursive(Sharing::kMiddleCycle, 3),
                  cycle = tiny_recursive(Sharing::kCycle, 4),
                  sequence = tiny_recursive(Sharing::kSequence, 4);
  EXPECT_THAT(layers_with(must(relaxed(middle, RelaxationMethod::kLora)), adapted),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(layers_with(must(relaxed(cycle, RelaxationMethod::kDora)), adapted),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(layers_with(must(relaxed(middle, RelaxationMethod::kAdaptionPrompt)), prompted),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(layers_with(must(relaxed(middle, RelaxationMethod::kRecursionEncoding)), encoded),
              ElementsAre(2, 4, 6));
  EXPECT_THAT(layers_with(must(relaxed(cycle, RelaxationMethod::kRecursionEncoding)), encoded),
              ElementsAre(1, 3, 5, 7));
  EXPECT_THAT(layers_with(must(relaxed(sequence, RelaxationMethod::kRecursionEncoding)), encoded),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

// No two depths share what relaxation gives, and every such parameter is a layer's.
TEST(Relaxation, EveryDepthHasParametersOfItsOwn) {
  for (RelaxationMethod method : kMethods) {
    for (const ModelSpec& spec :
         {tiny_recursive(Sharing::kMiddleSequence, 3), tiny_mor(Sharing::kCycle, 2)}) {
      const ModelPlan plan = must(relaxed(spec, method));
      std::set<int32_t> met;
      const auto meet = [&](const ParamRef& ref, int32_t depth) {
        if (ref.present()) {
          EXPECT_TRUE(met.insert(ref.at(depth)).second) << ref.at(depth);
        }
      };
      for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t depth) {
        for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
          for (const ParamRef& ref : {matrix.adapter->a, matrix.adapter->b, matrix.adapter->magnitude})
            meet(ref, depth);
        }
        const auto& attention = std::get<Attention>(layer.mixer);
        if (attention.prompt) {
          meet(attention.prompt->tokens, depth);
          meet(attention.prompt->gate, depth);
        }
        meet(layer.encoding, depth);
      });
      ASSERT_FALSE(met.empty());
      int64_t elements = 0;
      for (int32_t param : met) elements += elements_of(plan.params[static_cast<size_t>(param)]);
      ModelSpec plain = plan.spec;
      plain.relaxation.reset();
      EXPECT_EQ(count_parameters(plan).relaxation, elements);
      EXPECT_EQ(count_parameters(plan).unique - count_parameters(must(plain)).unique, elements);
      EXPECT_EQ(count_parameters(plan).total - count_parameters(must(plain)).total, elements);
    }
  }
}

TEST(Relaxation, AdaptersStartAsPublishedAndKeepToTheSmallerSide) {
  ModelSpec spec = relaxed(tiny_recursive(Sharing::kCycle, 2), RelaxationMethod::kDora);
  spec.relaxation->rank = 20;  // values are 16 wide
  spec.relaxation->targets = {Projection::kV, Projection::kDown};
  const ModelPlan plan = must(spec);
  const Layer& layer = plan.segments[0].layers[0];
  const std::vector<AdaptedMatrix> matrices = adapted_matrices(layer);
  ASSERT_EQ(matrices.size(), 2U);
  EXPECT_EQ(matrices[0].projection, Projection::kV);
  EXPECT_EQ(matrices[0].adapter->rank, 16);
  EXPECT_EQ(matrices[1].adapter->rank, 20);
  for (const AdaptedMatrix& matrix : matrices) EXPECT_EQ(matrix.adapter->scaling, 2);
  const auto init = [&](const ParamRef& ref) { return plan.params[static_cast<size_t>(ref.at(1))].init; };
  const Adapter& down = *matrices[1].adapter;
  EXPECT_EQ(init(down.a).kind, InitKind::kUniform);
  EXPECT_DOUBLE_EQ(init(down.a).a, 1 / std::sqrt(64.0));
  EXPECT_EQ(init(down.b).kind, InitKind::kConstant);
  EXPECT_EQ(init(down.b).a, 0);
  EXPECT_EQ(init(down.magnitude).kind, InitKind::kRowNorms);
}

// Query, key and value projections and those of the MLP may have ranks of their own; all are at most the
// smaller side of a matrix, which the scaling by the own rank goes by.
TEST(Relaxation, RanksMayDifferFromMatrixToMatrix) {
  ModelSpec spec = relaxed(tiny_recursive(Sharing::kCycle, 2), RelaxationMethod::kLora);
  spec.relaxation->attention_rank = 20;  // values are 16 wide
  spec.relaxation->mlp_rank = 3;
  spec.relaxation->alpha = 15;
  spec.relaxation->targets = {Projection::kQ, Projection::kV, Projection::kO, Projection::kDown};
  for (const bool own : {false, true}) {
    spec.relaxation->own_rank_scaling = own;
    const ModelPlan plan = must(spec);
    std::vector<int64_t> ranks;
    std::vector<double> scalings;
    for (const AdaptedMatrix& matrix : adapted_matrices(plan.segments[0].layers[0])) {
      ranks.push_back(matrix.adapter->rank);
      scalings.push_back(matrix.adapter->scaling);
    }
    EXPECT_THAT(ranks, ElementsAre(20, 16, 5, 3));
    EXPECT_EQ(scalings, own ? (std::vector<double>{15.0 / 20, 15.0 / 16, 3, 5}) : std::vector<double>(4, 3));
  }
}

// The published code has them, though nobody reads those of later depths.
TEST(Relaxation, ProjectionsOfSharedKeysHaveAdaptersAtEveryDepth) {
  ModelSpec spec = relaxed(tiny_recursive(Sharing::kCycle, 2), RelaxationMethod::kLora);
  const int64_t alone = count_parameters(must(spec)).relaxation;
  spec.kv = KvMode::kShared;
  EXPECT_EQ(count_parameters(must(spec)).relaxation, alone);
}

// Of a projection [32, 32] with rank 5; three depths of two layers.
TEST(Relaxation, WorkGrowsByTheProductsOfAdaptersAndTheKeysOfPrompts) {
  const ModelSpec plain = tiny_recursive(Sharing::kMiddleCycle, 3);
  ModelSpec lora = relaxed(plain, RelaxationMethod::kLora);
  lora.relaxation->targets = {Projection::kQ};
  const double adapter = 5 * (32 + 32);
  EXPECT_NEAR(count_flops(must(lora), 40).linear - count_flops(must(plain), 40).linear, 6 * 2 * adapter,
              1e-6);
  const auto bytes = [](const ModelSpec& spec) {
    return count_decode_bytes(must(spec), 10, 11, DType::kBF16, DType::kBF16);
  };
  EXPECT_NEAR(bytes(lora).products - bytes(plain).products, 6 * 2 * adapter, 1e-6);
  const ModelSpec prompt = relaxed(plain, RelaxationMethod::kAdaptionPrompt);
  EXPECT_NEAR(count_flops(must(prompt), 40).attention - count_flops(must(plain), 40).attention,
              8 * 4 * 32 * 3.0, 1e-6);
  EXPECT_NEAR(bytes(prompt).kv - bytes(plain).kv, 8 * 3 * (2 * 2 * 8 * 4.0), 1e-6);
  const ModelSpec encoding = relaxed(plain, RelaxationMethod::kRecursionEncoding);
  EXPECT_NEAR(bytes(encoding).small - bytes(plain).small, 3 * 32 * 4.0, 1e-6);
  EXPECT_EQ(count_flops(must(encoding), 40).total(), count_flops(must(plain), 40).total());
}

TEST(Relaxation, IsDescribed) {
  const ModelSpec spec = tiny_recursive(Sharing::kMiddleCycle, 3);
  const std::pair<RelaxationMethod, const char*> table[] = {
      {RelaxationMethod::kLora, "lora 5: q_proj v_proj\n"},
      {RelaxationMethod::kDora, "dora 5: q_proj v_proj\n"},
      {RelaxationMethod::kAdaptionPrompt, "prompt 3\n"},
      {RelaxationMethod::kRecursionEncoding, "encoding\n"}};
  for (const auto& [method, words] : table) {
    const ModelPlan plan = must(relaxed(spec, method));
    EXPECT_THAT(describe(plan, 64, DType::kF32), HasSubstr(words));
    EXPECT_THAT(describe(plan, 64, DType::kF32), HasSubstr("\n  relaxation "));
    const nlohmann::json json = nlohmann::json::parse(describe_json(plan, 64, DType::kF32));
    EXPECT_EQ(json["parameters"]["relaxation"], count_parameters(plan).relaxation);
  }
}

TEST(Relaxation, SurvivesConfigJson) {
  for (RelaxationMethod method : kMethods) {
    ModelSpec spec = tiny_mor(Sharing::kCycle, 2);
    spec.relaxation = RelaxationSpec{.method = method};
    if (method == RelaxationMethod::kLora || method == RelaxationMethod::kDora) {
      *spec.relaxation = {.method = method,
                          .rank = 3,
                          .alpha = 5,
                          .dropout = 0.25,
                          .targets = {Projection::kGate, Projection::kO, Projection::kUp},
                          .attention_rank = 6,
                          .mlp_rank = 7,
                          .own_rank_scaling = true,
                          .svd_init = SvdInit::kExact};
    }
    if (method == RelaxationMethod::kAdaptionPrompt) spec.relaxation->prompt_length = 7;
    const Result<ModelSpec> read = parse_config_json(write_config_json(spec), "config.json");
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_TRUE(*read == spec);
  }
}

TEST(Relaxation, WhatIsUndefinedIsRefused) {
  struct Row {
    const char* sentence;
    std::function<void(ModelSpec&)> spoil;
  };
  const Row table[] = {
      {"relaxation: of shared layers, and no layer is shared (sharing = \"none\")",
       [](auto& s) {
         s.sharing = Sharing::kNone;
         s.num_recursion = 1;
       }},
      {"relaxation.rank: found 0, expected 1 to 1048576", [](auto& s) { s.relaxation->rank = 0; }},
      {"relaxation.alpha: found -1, expected a positive number", [](auto& s) { s.relaxation->alpha = -1; }},
      {"relaxation.dropout: found 1, expected at least 0 and below 1",
       [](auto& s) { s.relaxation->dropout = 1; }},
      {"relaxation.dropout: found nan, expected at least 0 and below 1",
       [](auto& s) { s.relaxation->dropout = std::nan(""); }},
      {"relaxation.targets: empty, expected projections such as \"q_proj\", \"v_proj\"",
       [](auto& s) { s.relaxation->targets.clear(); }},
      {"relaxation.targets: \"o_proj\" twice",
       [](auto& s) {
         s.relaxation->targets = {Projection::kO, Projection::kUp, Projection::kO};
       }},
      {"relaxation.attention_rank: found -1, expected 0 to 1048576",
       [](auto& s) { s.relaxation->attention_rank = -1; }},
      {"relaxation.mlp_rank: found 1048577, expected 0 to 1048576",
       [](auto& s) { s.relaxation->mlp_rank = 1048577; }},
      {"relaxation.prompt_length: found 0, expected 1 to 1048576",
       [](auto& s) { s.relaxation = {.method = RelaxationMethod::kAdaptionPrompt, .prompt_length = 0}; }}};
  const ModelSpec good = relaxed(tiny_recursive(Sharing::kCycle, 2), RelaxationMethod::kLora);
  must(good);
  for (const Row& row : table) {
    ModelSpec spec = good;
    row.spoil(spec);
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_FALSE(plan.ok()) << row.sentence;
    EXPECT_EQ(plan.error().message, row.sentence);
  }
}

}  // namespace
}  // namespace fathom
