#include "plan/layer_sources.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>

#include "plan/spec_words.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

ModelSpec shared_spec(int64_t layers, Sharing sharing, int64_t num_recursion) {
  ModelSpec spec = tiny_recursive(sharing, num_recursion);
  spec.num_hidden_layers = layers;
  return spec;
}

std::vector<float> means(const LayerSources& layers) {
  std::vector<float> values;
  for (const std::vector<int32_t>& sources : layers.sources) {
    values.push_back(std::accumulate(sources.begin(), sources.end(), 0.0F) /
                     static_cast<float>(sources.size()));
  }
  return values;
}

// Rows of the published functions' own answers, layer i of the vanilla model filled with i. Rows of the rule
// random are checked for what does not depend on a generator.
TEST(LayerSources, EqualThePublishedTable) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: init_rules/table.json";
  const nlohmann::json table =
      read_json(shared_folder() + "/fixtures/mixture-of-recursions/init_rules/table.json");
  int rows = 0;
  for (const nlohmann::json& row : table["rows"]) {
    SCOPED_TRACE(row.dump());
    Sharing sharing{};
    Initialization rule{};
    ASSERT_FALSE(parse_word(row["sharing"].get<std::string>(), sharing).has_value());
    ASSERT_FALSE(parse_word(row["initialization"].get<std::string>(), rule).has_value());
    const ModelSpec spec = shared_spec(row["num_layers"], sharing, row["num_recursion"]);
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ(plan->num_unrolled_layers(), row["layers_after"].get<int64_t>());
    const LayerSources layers = layer_sources(spec, rule, draw_with(3));
    EXPECT_EQ(layers.kept, row["kept_layer_idx"].get<std::vector<int32_t>>());
    EXPECT_EQ(layers.shared, row["shared_id"].get<std::vector<int32_t>>());
    if (rule != Initialization::kRandom) {
      EXPECT_EQ(means(layers), row["value"].get<std::vector<float>>());
    }
    ++rows;
  }
  EXPECT_GE(rows, 552);
}

// The baseline of reduced depth: the rule runs before layers are taken away.
TEST(LayerSources, EqualThePublishedTableOfReducedDepth) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: init_rules/table.json";
  const nlohmann::json table =
      read_json(shared_folder() + "/fixtures/mixture-of-recursions/init_rules/table.json");
  int rows = 0;
  for (const nlohmann::json& row : table["nr1_base_depth_rows"]) {
    SCOPED_TRACE(row.dump());
    ModelSpec spec = shared_spec(row["num_layers"], Sharing::kCycle, 1);
    spec.base_depth = row["base_depth"];
    Initialization rule{};
    ASSERT_FALSE(parse_word(row["sharing"].get<std::string>(), spec.sharing).has_value());
    ASSERT_FALSE(parse_word(row["initialization"].get<std::string>(), rule).has_value());
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ(plan->num_unrolled_layers(), row["layers_after"].get<int64_t>());
    // The published model of "sequence" may keep modules that it does not run.
    std::vector<float> run = row["value"];
    run.resize(static_cast<size_t>(spec.base_depth));
    EXPECT_EQ(means(layer_sources(spec, rule, draw_with(3))), run);
    ++rows;
  }
  EXPECT_GE(rows, 128);
}

TEST(LayerSources, RandomDrawsDifferentLayersInOrderAndByTheSeedAlone) {
  const ModelSpec spec = shared_spec(32, Sharing::kMiddleCycle, 3);
  bool differ = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const LayerSources layers = layer_sources(spec, Initialization::kRandom, draw_with(seed));
    EXPECT_EQ(layers.sources, layer_sources(spec, Initialization::kRandom, draw_with(seed)).sources);
    for (size_t l = 1; l <= 10; ++l) {
      ASSERT_EQ(layers.sources[l].size(), 1U);
      EXPECT_GT(layers.sources[l], layers.sources[l - 1]);
      EXPECT_EQ(layers.sources[l], layers.sources[l + 10]);
    }
    EXPECT_LE(layers.sources[10].front(), 30);
    differ = differ || layers.sources != layer_sources(spec, Initialization::kRandom, draw_with(0)).sources;
  }
  EXPECT_TRUE(differ);
}

TEST(LayerSources, EveryLayerIsDrawnEquallyOften) {
  std::vector<int> drawn(8, 0);
  constexpr int kDraws = 4000;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    for (int32_t place : draw_with(seed)(1, 8, 2)) ++drawn[static_cast<size_t>(place - 1)];
  }
  // A quarter of the draws each, six standard deviations wide.
  for (int count : drawn) EXPECT_NEAR(count, kDraws / 4, 6 * std::sqrt(kDraws * 0.25 * 0.75));
}

// The mean of n normals of deviation s is a normal of deviation s / sqrt(n).
TEST(LayerSources, AverageOfFreshLayersHasASmallerDeviation) {
  ModelSpec spec = shared_spec(8, Sharing::kMiddleCycle, 3);
  spec.initialization = Initialization::kAverage;
  const ModelPlan plan = *build_plan(spec);
  int shared = 0, own = 0;
  for (const Param& param : plan.params) {
    if (param.role != ParamRole::kMatrix) continue;
    const bool end = param.name.starts_with("layers.0.") || param.name.starts_with("layers.7.");
    EXPECT_DOUBLE_EQ(param.init.a, end ? 0.02 : 0.02 / std::sqrt(3.0)) << param.name;
    ++(end ? own : shared);
  }
  EXPECT_EQ(own, 14);
  EXPECT_EQ(shared, 14);
}

}  // namespace
}  // namespace fathom
