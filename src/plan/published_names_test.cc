// The names of a routed model's checkpoint give its recursion back, whatever it is; other names give none.
#include "plan/published_names.h"

#include <gtest/gtest.h>

#include "plan/naming.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

// Each shared tensor under all its names, or under the first alone.
std::vector<NamedShape> names_of(const ModelSpec& spec, bool repeated = true) {
  const ModelPlan plan = *build_plan(spec);
  std::vector<NamedShape> names;
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    names.push_back({tensor.name, tensor.shape});
    if (!repeated) continue;
    for (const std::string& alias : tensor.aliases) names.push_back({alias, tensor.shape});
  }
  return names;
}

TEST(PublishedNames, GiveTheRecursionOfARoutedModel) {
  std::vector<ModelSpec> specs = {tiny_mor(Sharing::kCycle, 2), tiny_mor(Sharing::kMiddleCycle, 2),
                                  tiny_mor(Sharing::kMiddleCycle, 3)};
  for (size_t i = 0; i < 3; ++i) {
    specs.push_back(specs[i]);
    specs.back().router->network = RouterNetwork::kMlp;
    specs.back().router->loss = RouterLoss::kAuxRouter;
    specs.push_back(specs[i]);
    specs.back().share_attention = false;
  }
  specs.push_back(tiny_mor(Sharing::kMiddleCycle, 3));
  specs.back().router = default_router(RouterKind::kTokenChoice);
  specs.push_back(specs.back());
  specs.back().router->loss = RouterLoss::kLossFree;
  specs.push_back(specs.back());
  specs.back().router->network = RouterNetwork::kMlp;
  for (const ModelSpec& spec : specs) {
    for (const bool repeated : {true, false}) {
      const auto recursion = published_recursion(names_of(spec, repeated));
      ASSERT_TRUE(recursion.has_value());
      ModelSpec silent = spec;  // as the published configuration is
      silent.sharing = Sharing::kNone;
      silent.num_recursion = 1;
      silent.router.reset();
      const ModelSpec found = with_recursion(silent, *recursion);
      EXPECT_EQ(found.sharing, spec.sharing);
      EXPECT_EQ(found.num_recursion, spec.num_recursion) << repeated;
      EXPECT_EQ(found.num_hidden_layers, spec.num_hidden_layers) << repeated;
      EXPECT_EQ(found.router->kind, spec.router->kind);
      EXPECT_EQ(found.router->network, spec.router->network);
      EXPECT_EQ(found.router->loss, spec.router->loss);
    }
  }
}

TEST(PublishedNames, GiveNothingForOtherModels) {
  EXPECT_FALSE(published_recursion(names_of(tiny())).has_value());
  EXPECT_FALSE(published_recursion(names_of(tiny_recursive(Sharing::kMiddleCycle, 3))).has_value());
  EXPECT_FALSE(published_recursion({}).has_value());
  for (const char* name :
       {"model.layers.3.block.self_attn.q_proj.weight", "model.layers.x.block.0.mlp",
        "model.layers.1.block.-1.a", "model.layers.99999999999999999999.block.0.a",
        "model.layers.1.block_list.0", "model.layers", "...", "model.layers.1.mor_router.router.weight"}) {
    EXPECT_FALSE(published_recursion({{name, {}}}).has_value()) << name;
  }
}

TEST(PublishedNames, AreToldInOneSentence) {
  EXPECT_EQ(to_sentence(*published_recursion(names_of(tiny_mor(Sharing::kMiddleCycle, 3)))),
            "expert choice, 3 recursions of 2 layers");
}

}  // namespace
}  // namespace fathom
