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
  if (place.relaxed) builder.relax(place, layer);
  return layer;
}

// How many fresh layers a layer of a segment run `repeat` times starts as the mean of.
int64_t layers_averaged(const ModelSpec& spec, int32_t repeat) {
  if (spec.initialization != Initialization::kAverage) return 1;
  return spec.base_depth > 0 ? spec.num_hidden_layers / spec.base_depth : repeat;
}

// Adapters and encodings belong to repeated layers, encodings to the last of each recursion alone; prompts to
// all layers (Mixture-of-Recursions, relaxation).
bool is_relaxed(const ModelSpec& spec, bool repeated, bool last) {
  if (!spec.relaxation) return false;
  switch (spec.relaxation->method) {
    case RelaxationMethod::kLora:
    case RelaxationMethod::kDora:
      return repeated;
    case RelaxationMethod::kRecursionEncoding:
      return repeated && last;
    case RelaxationMethod::kAdaptionPrompt:
      break;
  }
  return true;
}

// Layers `first`, first + 1, ... run `repeat` times.
Segment make_segment(PlanBuilder& builder, int32_t first, int32_t count, int32_t repeat) {
  const ModelSpec& spec = builder.spec();
  Segment segment;
  segment.repeat = repeat;
  if (repeat > 1) segment.kv = spec.kv;
  const bool own = spec.sharing == Sharing::kNone;  // weights; what is shared then are keys and values
  for (int32_t l = 0; l < count; ++l) {
    const LayerPlace place{.index = first + l,
                           .repeat = repeat,
                           .own_norms = own || !spec.share_norms,
                           .own_attention = own || !spec.share_attention,
                           .own_mlp = own,
                           .mean_of = layers_averaged(spec, repeat),
                           .relaxed = is_relaxed(spec, repeat > 1, l + 1 == count)};
    const int32_t copies = keys_per_depth(segment.kv) ? repeat : 1;
    segment.layers.push_back(make_layer(builder, place, copies));
  }
  return segment;
}

// The repeated part: `count` different layers from `first` on, each run `repeat` times.
void add_recursion(PlanBuilder& builder, Sharing strategy, int32_t first, int32_t count, int32_t repeat) {
  const ModelSpec& spec = builder.spec();
  std::vector<Segment>& segments = builder.plan().segments;
  if (strategy == Sharing::kSequence || strategy == Sharing::kMiddleSequence) {
    for (int32_t l = 0; l < count; ++l)
      segments.push_back(make_segment(builder, first + l * repeat, 1, repeat));
    return;
  }
  segments.push_back(make_segment(builder, first, count, repeat));
  if (spec.router) builder.route(segments.back());
}

// Which layers share weights, or keys and values alone.
Sharing strategy_of(const ModelSpec& spec) {
  if (spec.sharing != Sharing::kNone) return spec.sharing;
  return spec.kv == KvMode::kShared ? spec.kv_sharing : Sharing::kNone;
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
  const Sharing strategy = strategy_of(spec);
  if (strategy == Sharing::kNone) {
    builder.plan().segments.push_back(make_segment(builder, 0, layers, 1));
  } else if (spec.base_depth > 0) {
    builder.plan().segments.push_back(make_segment(builder, 0, static_cast<int32_t>(spec.base_depth), 1));
  } else {
    // Layers that do not fill a recursion are dropped, as the published construction does.
    const auto repeat = static_cast<int32_t>(spec.num_recursion);
    const bool middle = strategy == Sharing::kMiddleCycle || strategy == Sharing::kMiddleSequence;
    const int32_t count = (layers - (middle ? 2 : 0)) / repeat;
    if (middle) builder.plan().segments.push_back(make_segment(builder, 0, 1, 1));
    add_recursion(builder, strategy, middle ? 1 : 0, count, repeat);
    if (middle) builder.plan().segments.push_back(make_segment(builder, 1 + count * repeat, 1, 1));
  }
  builder.plan().final_norm = builder.final_norm(NormKind::kRmsNorm);
  return std::move(builder.plan());
}

}  // namespace fathom
