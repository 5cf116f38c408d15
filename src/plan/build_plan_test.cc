#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plan/count.h"
#include "plan/model_plan.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing_plan::hybrid;
using testing_plan::tiny;
using testing_plan::tiny_mor;
using testing_plan::tiny_recursive;

ModelPlan must(const ModelSpec& spec) {
  Result<ModelPlan> plan = build_plan(spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  return std::move(*plan);
}

std::vector<int32_t> repeats(const ModelPlan& plan) {
  std::vector<int32_t> out;
  for (const Segment& segment : plan.segments) out.push_back(segment.repeat);
  return out;
}

std::vector<int32_t> unrolled(const ModelPlan& plan) {
  std::vector<int32_t> out;
  for_each_unrolled_layer(plan,
                          [&](const Segment&, const Layer& layer, int32_t) { out.push_back(layer.index); });
  return out;
}

TEST(BuildPlan, VanillaIsOneSegmentOfDistinctLayers) {
  const ModelPlan plan = must(tiny());
  EXPECT_THAT(unrolled(plan), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(repeats(plan), ElementsAre(1));
  EXPECT_EQ(plan.slots.size(), 8U);
  EXPECT_EQ(plan.head.first, plan.embedding.first);
  EXPECT_FALSE(prefill_shortcut_layer(plan).has_value());
}

// The table "parameter-sharing strategies" for L = 8: which layer's weights each unrolled layer has.
TEST(BuildPlan, EachStrategyRepeatsTheLayersOfItsTable) {
  EXPECT_THAT(unrolled(must(tiny_recursive(Sharing::kCycle, 2))), ElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
  EXPECT_THAT(unrolled(must(tiny_recursive(Sharing::kSequence, 2))), ElementsAre(0, 0, 2, 2, 4, 4, 6, 6));
  EXPECT_THAT(unrolled(must(tiny_recursive(Sharing::kMiddleCycle, 3))), ElementsAre(0, 1, 2, 1, 2, 1, 2, 7));
  EXPECT_THAT(unrolled(must(tiny_recursive(Sharing::kMiddleSequence, 3))),
              ElementsAre(0, 1, 1, 1, 4, 4, 4, 7));
}

TEST(BuildPlan, LayersThatFillNoRecursionAreDropped) {
  ModelSpec spec = tiny_recursive(Sharing::kCycle, 3);
  EXPECT_EQ(must(spec).num_unrolled_layers(), 6);
  spec = tiny_recursive(Sharing::kMiddleCycle, 4);
  EXPECT_EQ(must(spec).num_unrolled_layers(), 6);
}

TEST(BuildPlan, StateIsPerDepthUnlessKeysAreShared) {
  ModelSpec spec = tiny_recursive(Sharing::kMiddleCycle, 3);
  EXPECT_EQ(must(spec).slots[1].copies, 3);
  EXPECT_EQ(must(spec).slots[0].copies, 1);
  spec.kv = KvMode::kShared;
  EXPECT_EQ(must(spec).slots[1].copies, 1);
}

// Weights are those of a vanilla model, and start as they do: each layer has its own, whichever reads whose
// keys.
TEST(BuildPlan, KeysAloneAreSharedByEachStrategy) {
  const auto sharing_keys = [](Sharing strategy, int64_t layers, int64_t num_recursion) {
    ModelSpec spec = tiny();
    spec.num_hidden_layers = layers;
    spec.num_recursion = num_recursion;
    spec.kv = KvMode::kShared;
    spec.kv_sharing = strategy;
    return must(spec);
  };
  const ModelPlan sequence = sharing_keys(Sharing::kSequence, 8, 2),
                  middle = sharing_keys(Sharing::kMiddleCycle, 8, 3);
  EXPECT_THAT(unrolled(sequence), ElementsAre(0, 0, 2, 2, 4, 4, 6, 6));
  EXPECT_THAT(unrolled(middle), ElementsAre(0, 1, 2, 1, 2, 1, 2, 7));
  EXPECT_THAT(unrolled(sharing_keys(Sharing::kCycle, 8, 2)), ElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
  EXPECT_EQ(sequence.slots.size(), 4U);
  EXPECT_EQ(middle.slots.size(), 4U);
  EXPECT_EQ(key_source(middle.segments[2], middle.segments[2].layers[0], 0), KeySource::kOwn);
  for (const ModelPlan* plan : {&sequence, &middle}) {
    EXPECT_EQ(count_parameters(*plan).unique, count_parameters(must(tiny())).unique);
    for (const Param& param : plan->params) {
      if (param.role == ParamRole::kMatrix) {
        EXPECT_EQ(param.init.kind, InitKind::kNormal) << param.name;
      }
    }
  }
}

TEST(BuildPlan, OwnNormsAndOwnAttentionHaveOneParameterPerDepth) {
  ModelSpec spec = tiny_recursive(Sharing::kMiddleCycle, 3);
  spec.share_norms = false;
  const ModelPlan norms = must(spec);
  const Layer& layer = norms.segments[1].layers[0];
  EXPECT_EQ(layer.norm1.weight.stride, 1);
  EXPECT_EQ(norms.params[static_cast<size_t>(layer.norm1.weight.at(2))].name, "layers.1.depth2.norm1.weight");
  EXPECT_EQ(std::get<Attention>(layer.mixer).q.stride, 0);
  EXPECT_EQ(norms.segments[0].layers[0].norm1.weight.stride, 0);

  spec.share_norms = true;
  spec.share_attention = false;
  const ModelPlan attention = must(spec);
  EXPECT_EQ(std::get<Attention>(attention.segments[1].layers[0].mixer).q.stride, 1);
  EXPECT_EQ(attention.segments[1].layers[0].norm1.weight.stride, 0);
}

TEST(BuildPlan, RoutedSegmentHasARouterPerDepthAndDefaultCapacities) {
  const ModelPlan plan = must(tiny_mor(Sharing::kMiddleCycle, 3));
  ASSERT_EQ(plan.segments.size(), 3U);
  const Segment& segment = plan.segments[1];
  ASSERT_TRUE(segment.router.has_value());
  EXPECT_EQ(segment.combine, Combine::kWeighted);
  EXPECT_EQ(segment.router->weight.stride, 1);
  EXPECT_THAT(segment.router->spec.capacity, ElementsAre(1.0, 2.0 / 3.0, 1.0 / 3.0));
  EXPECT_THAT(segment.router->spec.threshold, ElementsAre(0, 0, 0));
  EXPECT_EQ(plan.params[static_cast<size_t>(segment.router->weight.at(1))].name, "router.depth1.weight");
}

std::string kinds(const ModelPlan& plan) {
  std::string out;
  for (const Layer& layer : plan.segments[0].layers) {
    switch (layer.kind()) {
      case BlockKind::kAttention:
        out += std::get<Attention>(layer.mixer).window > 0 ? 'w' : 'f';
        break;
      case BlockKind::kCrossAttention:
        out += 'c';
        break;
      case BlockKind::kMamba:
        out += 'm';
        break;
      case BlockKind::kMamba2:
        out += '2';
        break;
      case BlockKind::kGatedDelta:
        out += 'd';
        break;
      case BlockKind::kGatedMemory:
        out += std::get<GatedMemory>(layer.mixer).norm.present() ? 'n' : 'g';
        break;
    }
  }
  return out;
}

// Decoder-Hybrid-Decoder 1.2 and 1.3.
TEST(BuildPlan, HybridsHaveTheLayersOfThePaper) {
  EXPECT_EQ(kinds(must(hybrid("transformer", 8))), "ffffffff");
  EXPECT_EQ(kinds(must(hybrid("transformerls", 8))), "wwwfwwwf");
  EXPECT_EQ(kinds(must(hybrid("samba", 8))), "mwmwmwmw");
  EXPECT_EQ(kinds(must(hybrid("swayoco", 8))), "wwwwwfcc");
  EXPECT_EQ(kinds(must(hybrid("sambayoco", 8))), "mwmwmfcc");
  EXPECT_EQ(kinds(must(hybrid("sambay", 8))), "mwmwmfgc");
  EXPECT_EQ(kinds(must(hybrid("mambay", 8))), "mmmmmfgc");
  EXPECT_EQ(kinds(must(hybrid("sambayattnall", 8))), "mwmwmfgg");
  EXPECT_EQ(kinds(must(hybrid("sambayda", 8))), "mwmwmfgc");
  EXPECT_EQ(kinds(must(hybrid("sambay2", 8))), "2w2w2fnc");
  EXPECT_EQ(kinds(must(hybrid("mambay2", 8))), "22222fnc");
  EXPECT_EQ(kinds(must(hybrid("sgdny", 8))), "dwdwdfnc");
  EXPECT_EQ(kinds(must(hybrid("gdny", 8))), "dddddfnc");
  EXPECT_EQ(kinds(must(hybrid("sambay", 16))), "mwmwmwmwmfgcgcgc");
}

TEST(BuildPlan, SharedKeysAndMemoryAreReadFromTheSelfDecodersLastLayers) {
  const ModelPlan plan = must(hybrid("sambay", 16));
  const auto& layers = plan.segments[0].layers;
  ASSERT_EQ(layers[8].writes.size(), 2U);
  const SlotId memory = layers[8].writes[1];
  EXPECT_EQ(plan.slots[static_cast<size_t>(memory)].name, "mem.8");
  for (size_t l : {10U, 12U, 14U}) EXPECT_THAT(layers[l].reads, ElementsAre(memory));
  for (size_t l : {11U, 13U, 15U}) EXPECT_THAT(layers[l].reads, ElementsAre(layers[9].writes[0]));
  EXPECT_EQ(prefill_shortcut_layer(plan), 10);
  EXPECT_TRUE(check_prefill_shortcut(plan, 10).ok());
  EXPECT_EQ(check_prefill_shortcut(plan, 9).error().message,
            "layer 9: writes slot kv.9, but the prefill shortcut is claimed from layer 9 on");
}

// A cross-decoder reads one cache and one memory, whatever its depth: recursion adds no state, and its rows
// stay behind the prefill shortcut.
TEST(BuildPlan, ACrossDecoderRecursWithoutState) {
  ModelSpec spec = hybrid("sambay", 16);
  const ModelPlan flat = must(spec);
  spec.sharing = Sharing::kCycle;
  spec.num_recursion = 3;
  spec.router = RouterSpec{};
  const ModelPlan plan = must(spec);
  ASSERT_EQ(plan.segments.size(), 2U);
  EXPECT_FALSE(plan.segments[0].router);
  EXPECT_EQ(plan.segments[0].repeat, 1);
  EXPECT_EQ(plan.segments[1].repeat, 3);
  EXPECT_EQ(plan.segments[1].layers.size(), 2U);
  for (const Layer& layer : plan.segments[1].layers) EXPECT_TRUE(layer.writes.empty());
  EXPECT_EQ(plan.slots.size(), flat.slots.size());
  for (const Slot& slot : plan.slots) EXPECT_EQ(slot.copies, 1) << slot.name;
  const StateBytes state = count_state(plan, DType::kBF16), flat_state = count_state(flat, DType::kBF16);
  EXPECT_EQ(state.per_token, flat_state.per_token);
  EXPECT_EQ(state.per_token_most, flat_state.per_token_most);
  EXPECT_EQ(state.per_sequence, flat_state.per_sequence);
  EXPECT_EQ(prefill_shortcut_layer(plan), 10);
  EXPECT_TRUE(routes_behind_state(plan));
  EXPECT_FALSE(routes_behind_state(flat));
  EXPECT_FALSE(routes_behind_state(must(tiny_mor(Sharing::kMiddleCycle, 3))));
  // All of a flat model's parameters but two thirds of its cross-decoder's, and a router for each depth.
  const int64_t cross = count_layer_parameters(flat, flat.segments[0].layers[10]) +
                        count_layer_parameters(flat, flat.segments[0].layers[11]);
  EXPECT_EQ(count_parameters(plan).unique, count_parameters(flat).unique - 2 * cross + 3 * 32);
}

// Decoder-Hybrid-Decoder 2.7: inner = 512 ceil(2 w / 512), heads = ceil(floor(0.75 w) / 256).
TEST(BuildPlan, SizesOfRecurrentMixersFollowFromTheWidth) {
  struct Row {
    int64_t width, mamba2_heads, delta_heads;
  };
  for (const Row& row : {Row{960, 32, 3}, Row{1008, 32, 3}, Row{1024, 32, 3}, Row{1025, 40, 3},
                         Row{1984, 64, 6}, Row{2016, 64, 6}, Row{2976, 96, 9}, Row{2, 8, 1}}) {
    ModelSpec spec = hybrid("sambay2", 8);
    spec.hidden_size = row.width;
    const ModelPlan mamba2 = must(spec);
    spec.architecture = "sgdny";
    const ModelPlan delta = must(spec);
    EXPECT_EQ(std::get<Mamba2>(mamba2.segments[0].layers[0].mixer).heads, row.mamba2_heads) << row.width;
    EXPECT_EQ(std::get<GatedDelta>(delta.segments[0].layers[0].mixer).heads, row.delta_heads) << row.width;
    EXPECT_EQ(std::get<GatedMemory>(mamba2.segments[0].layers[6].mixer).inner, row.mamba2_heads * 64);
    EXPECT_EQ(std::get<GatedMemory>(delta.segments[0].layers[6].mixer).inner, row.delta_heads * 512);
  }
}

TEST(BuildPlan, MupPlusPlusScalesAsInTable6) {
  ModelSpec spec = hybrid("sambay", 8);
  spec.parametrisation = Parametrisation::kMuPPlusPlus;
  const ModelPlan plan = must(spec);
  EXPECT_DOUBLE_EQ(plan.logit_scale, 2.0);
  EXPECT_DOUBLE_EQ(plan.residual_scale, 0.25);
  EXPECT_DOUBLE_EQ(std::get<Attention>(plan.segments[0].layers[1].mixer).scale,
                   std::sqrt(128.0) / static_cast<double>(spec.head_dim));
}

TEST(BuildPlan, DifferentialAttentionHasItsLayersLambda) {
  const ModelPlan plan = must(hybrid("sambayda", 32));
  const auto lambda = [&](size_t layer) {
    return std::get<Attention>(plan.segments[0].layers[layer].mixer).differential->lambda_init;
  };
  EXPECT_NEAR(lambda(1), 0.355509, 1e-6);
  EXPECT_NEAR(lambda(17), 0.796342, 1e-6);
  EXPECT_NEAR(lambda(31), 0.799945, 1e-6);
}

}  // namespace
}  // namespace fathom
