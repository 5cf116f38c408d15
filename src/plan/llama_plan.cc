#include "plan/families.h"
#include "plan/plan_builder.h"

namespace fathom {

namespace {

constexpr double kDefaultTheta = 10000;

Layer make_layer(PlanBuilder& builder, const LayerPlace& place, int32_t kv_copies) {
  const ModelSpec& spec = builder.spec();
  Layer layer;
  layer.index = place.index;
  layer.norm1 = builder.norm(place, "norm1", NormKind::kRmsNorm);
  Attention attention = builder.attention(place, /*cross=*/false, spec.attention_bias);
  attention.rope =
      Rope{spec.rope_theta.value_or(kDefaultTheta), spec.rope_table_bf16, spec.rope_frequencies_bf16};
  layer.mixer = attention;
  layer.norm2 = builder.norm(place, "norm2", NormKind::kRmsNorm);
  layer.mlp = builder.mlp(place);
  layer.writes = {builder.kv_slot(place, /*window=*/0, kv_copies)};
  return layer;
}

// Layers `first`, first + 1, ... run `repeat` times.
Segment make_segment(PlanBuilder& builder, int32_t first, int32_t count, int32_t repeat) {
  const ModelSpec& spec = builder.spec();
  Segment segment;
  segment.repeat = repeat;
  if (repeat > 1) segment.kv = spec.kv;
  for (int32_t l = 0; l < count; ++l) {
    const LayerPlace place{.index = first + l,
                           .repeat = repeat,
                           .own_norms = !spec.share_norms,
                           .own_attention = !spec.share_attention};
    const int32_t copies = segment.kv == KvMode::kRecursionWise ? repeat : 1;
    segment.layers.push_back(make_layer(builder, place, copies));
  }
  return segment;
}

Router make_router(PlanBuilder& builder, int32_t repeat) {
  const ModelSpec& spec = builder.spec();
  Router router;
  router.spec = *spec.router;
  if (router.spec.random) return router;  // nothing to learn
  const int64_t hidden = spec.hidden_size;
  const bool expert = router.spec.kind == RouterKind::kExpertChoice;
  const bool linear = router.spec.network == RouterNetwork::kLinear;
  const Init init{.kind = InitKind::kNormal, .a = spec.initializer_range};
  const int64_t in = linear ? hidden : 2 * hidden;
  const std::vector<int64_t> shape = {expert ? 1 : repeat, in};
  const auto make = [&](const char* prefix, ParamRef& weight, ParamRef& first) {
    if (!linear) {
      first = builder.add_per_depth(prefix, repeat, expert, "hidden", {2 * hidden, hidden},
                                    ParamRole::kRouter, init);
    }
    weight = builder.add_per_depth(prefix, repeat, expert, "weight", shape, ParamRole::kRouter, init);
  };
  make("router", router.weight, router.hidden);
  if (router.spec.loss == RouterLoss::kAuxRouter) make("aux_router", router.aux_weight, router.aux_hidden);
  return router;
}

// The repeated part: `count` different layers from `first` on, each run `repeat` times.
void add_recursion(PlanBuilder& builder, int32_t first, int32_t count, int32_t repeat) {
  const ModelSpec& spec = builder.spec();
  std::vector<Segment>& segments = builder.plan().segments;
  if (spec.sharing == Sharing::kSequence || spec.sharing == Sharing::kMiddleSequence) {
    for (int32_t l = 0; l < count; ++l)
      segments.push_back(make_segment(builder, first + l * repeat, 1, repeat));
    return;
  }
  segments.push_back(make_segment(builder, first, count, repeat));
  if (!spec.router) return;
  segments.back().combine =
      spec.router->gating == Gating::kWeighted ? Combine::kWeighted : Combine::kAdditive;
  segments.back().router = make_router(builder, repeat);
}

}  // namespace

Result<ModelPlan> llama_plan(const ModelSpec& spec) {
  if (spec.parametrisation != Parametrisation::kStandard)
    return invalid("parametrisation: muP is defined for the hybrid study's architectures, not for llama");
  if (spec.sliding_window != 0) return invalid("sliding_window: no layer of llama is windowed, expected 0");

  PlanBuilder builder(spec, {.deviation = spec.initializer_range});
  const Init normal{.kind = InitKind::kNormal, .a = spec.initializer_range};
  builder.embedding_and_head(normal, normal);
  const auto layers = static_cast<int32_t>(spec.num_hidden_layers);
  if (spec.sharing == Sharing::kNone) {
    builder.plan().segments.push_back(make_segment(builder, 0, layers, 1));
  } else {
    // Layers that do not fill a recursion are dropped, as the published construction does.
    const auto repeat = static_cast<int32_t>(spec.num_recursion);
    const bool middle = spec.sharing == Sharing::kMiddleCycle || spec.sharing == Sharing::kMiddleSequence;
    const int32_t count = (layers - (middle ? 2 : 0)) / repeat;
    if (middle) builder.plan().segments.push_back(make_segment(builder, 0, 1, 1));
    add_recursion(builder, middle ? 1 : 0, count, repeat);
    if (middle) builder.plan().segments.push_back(make_segment(builder, 1 + count * repeat, 1, 1));
  }
  builder.plan().final_norm = builder.final_norm(NormKind::kRmsNorm);
  return std::move(builder.plan());
}

}  // namespace fathom
