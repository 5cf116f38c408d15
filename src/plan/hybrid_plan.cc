#include <cmath>

#include "plan/architecture.h"
#include "plan/families.h"
#include "plan/plan_builder.h"
#include "plan/recurrent_blocks.h"
#include "plan/spec_words.h"

namespace fathom {

namespace {

constexpr double kDefaultTheta = 10000;
constexpr double kUntiedEmbeddingDeviation = 1e-4;

// Initialisation by parametrisation and head (Decoder-Hybrid-Decoder, table 6, and what its code does: under
// muP the division of residual projections belongs to tied heads only).
InitRule init_rule(const ModelSpec& spec) {
  const bool standard = spec.parametrisation == Parametrisation::kStandard;
  InitRule rule{.uniform = !standard, .deviation = spec.initializer_range};
  if (standard || spec.tie_word_embeddings)
    rule.residual_divisor = std::sqrt(2 * static_cast<double>(spec.num_hidden_layers));
  return rule;
}

// Recursion of the cross-decoder: its layers keep no state, so that repeating them leaves nothing behind.
Status check_cross_recursion(const ModelSpec& spec, const Architecture& architecture) {
  const std::string name(architecture.name);
  if (architecture.cross == CrossDecoder::kNone) {
    return invalid("sharing: found \"" + std::string(word_of(spec.sharing)) +
                   "\", but only a cross-decoder may recur, and " + name + " has none");
  }
  if (architecture.published_layout)
    return invalid("sharing: " + name + " is a published layout, which has no recursion");
  if (spec.sharing != Sharing::kCycle) {
    return invalid("sharing: found \"" + std::string(word_of(spec.sharing)) +
                   "\", expected \"cycle\", which repeats the cross-decoder of " + name + " as a whole");
  }
  if (spec.base_depth != 0) return invalid("base_depth: defined for llama, not for " + name);
  if (spec.initialization) return invalid("initialization: defined for llama, not for " + name);
  if (spec.kv != KvMode::kRecursionWise) {
    return invalid("kv: found \"" + std::string(word_of(spec.kv)) + "\", but the cross-decoder of " + name +
                   " writes no keys and values");
  }
  if (!spec.share_attention) return invalid("share_attention: found false, which is defined for llama only");
  if (spec.relaxation) return invalid("relaxation: defined for llama, not for " + name);
  const int64_t repeated = cross_decoder_layers(spec.num_hidden_layers);
  const int64_t unit = architecture.cross == CrossDecoder::kGatedAndCross ? 2 : 1;
  if (repeated == 0 || repeated % (unit * spec.num_recursion) != 0) {
    return invalid("num_hidden_layers: found " + std::to_string(spec.num_hidden_layers) +
                   ", whose cross-decoder of " + std::to_string(repeated) + " layers is not a multiple of " +
                   std::to_string(unit * spec.num_recursion) + " for " + std::to_string(spec.num_recursion) +
                   " recursions of " + name);
  }
  return {};
}

Status check_hybrid(const ModelSpec& spec, const Architecture& architecture) {
  const std::string name(architecture.name);
  const bool has_cross = architecture.cross != CrossDecoder::kNone;
  if (has_cross && spec.num_hidden_layers % 4 != 0) {
    return invalid("num_hidden_layers: found " + std::to_string(spec.num_hidden_layers) +
                   ", expected a multiple of 4 for " + name);
  }
  if (spec.sharing != Sharing::kNone) {
    FATHOM_TRY(check_cross_recursion(spec, architecture));
  } else if (spec.num_recursion != 1) {
    return invalid("num_recursion: found " + std::to_string(spec.num_recursion) +
                   " without a sharing strategy, expected 1 for " + name);
  }
  if (!architecture.may_be_windowed() && spec.sliding_window != 0)
    return invalid("sliding_window: no layer of " + name + " is windowed, expected 0");
  if (!architecture.rope && spec.rope_theta)
    return invalid("rope_theta: " + name + " has no positional encoding");
  if (!architecture.rope && spec.rope_table_bf16)
    return invalid("rope_table_bf16: " + name + " has no positional encoding");
  if (!architecture.rope && spec.rope_frequencies_bf16)
    return invalid("rope_frequencies_bf16: " + name + " has no positional encoding");
  if (architecture.recurrent == Recurrent::kMamba2 && mamba2_inner(spec) % spec.mamba2_head_dim != 0) {
    return invalid("mamba2_head_dim: found " + std::to_string(spec.mamba2_head_dim) +
                   ", expected a divisor of the inner width " + std::to_string(mamba2_inner(spec)));
  }
  if (architecture.recurrent == Recurrent::kGatedDelta && gated_delta_heads(spec) == 0)
    return invalid("hidden_size: found 1, expected at least 2 for " + name);
  if (architecture.differential) {
    if (spec.num_key_value_heads % 2 != 0) {
      return invalid("num_key_value_heads: found " + std::to_string(spec.num_key_value_heads) +
                     ", expected an even number for the head pairs of differential attention");
    }
  }
  return {};
}

class HybridBuilder {
 public:
  HybridBuilder(const ModelSpec& spec, const Architecture& architecture)
      : spec_(spec), architecture_(architecture), builder_(spec, init_rule(spec)) {}

  ModelPlan build() {
    ModelPlan& plan = builder_.plan();
    const bool standard = spec_.parametrisation == Parametrisation::kStandard;
    const Init embedding{.a =
                             spec_.tie_word_embeddings ? spec_.initializer_range : kUntiedEmbeddingDeviation};
    const Init head =
        standard ? Init{.a = spec_.initializer_range} : Init{.kind = InitKind::kConstant, .a = 0};
    builder_.embedding_and_head(embedding, head);
    const auto layers = static_cast<double>(spec_.num_hidden_layers);
    if (!standard) plan.logit_scale = static_cast<double>(spec_.mup_base_depth) / layers;
    if (spec_.parametrisation == Parametrisation::kMuPPlusPlus)
      plan.residual_scale = 1 / std::sqrt(2 * layers);

    const auto depth = static_cast<int32_t>(spec_.num_hidden_layers);
    if (spec_.sharing == Sharing::kNone) {
      add_segment(0, depth, 1);
    } else {
      const auto repeated = static_cast<int32_t>(cross_decoder_layers(depth));
      const auto repeat = static_cast<int32_t>(spec_.num_recursion);
      add_segment(0, depth - repeated, 1);
      add_segment(depth - repeated, repeated / repeat, repeat);
      if (spec_.router) builder_.route(plan.segments.back());
    }
    plan.final_norm = builder_.final_norm(norm_kind());
    return std::move(plan);
  }

 private:
  NormKind norm_kind() const { return architecture_.layer_norm ? NormKind::kLayerNorm : NormKind::kRmsNorm; }

  int64_t window() const { return spec_.sliding_window > 0 ? spec_.sliding_window : architecture_.window; }

  // The layer whose memory the gated memory units read, or -1 where there are none.
  int64_t memory_layer() const {
    const int64_t keys = spec_.num_hidden_layers / 2 + 1;
    const bool gated =
        architecture_.cross == CrossDecoder::kGated || architecture_.cross == CrossDecoder::kGatedAndCross;
    if (!gated || keys + 1 >= spec_.num_hidden_layers) return -1;
    return architecture_.memory_of_attention ? keys : keys - 1;
  }

  // Of y of the recurrent mixer.
  int64_t recurrent_width() const {
    switch (architecture_.recurrent) {
      case Recurrent::kMamba2:
        return mamba2_inner(spec_);
      case Recurrent::kGatedDelta:
        return gated_delta_heads(spec_) * spec_.gdn_value_dim;
      case Recurrent::kMamba:
        break;
    }
    return spec_.mamba_expand * spec_.hidden_size;
  }

  int64_t memory_width() const {
    if (!architecture_.memory_of_attention) return recurrent_width();
    if (architecture_.memory == MemorySource::kMlpUp) return spec_.intermediate_size;
    return spec_.num_attention_heads * spec_.head_dim;
  }

  Attention make_attention(const LayerPlace& place, bool cross) {
    Attention attention = builder_.attention(place, cross, architecture_.biases || spec_.attention_bias);
    if (architecture_.rope)
      attention.rope =
          Rope{spec_.rope_theta.value_or(kDefaultTheta), spec_.rope_table_bf16, spec_.rope_frequencies_bf16};
    if (architecture_.differential) builder_.make_differential(place, attention);
    return attention;
  }

  void add_mixer(const LayerPlace& place, Layer& layer) {
    const MixerKind kind = mixer_of(architecture_, place.index, spec_.num_hidden_layers);
    switch (kind) {
      case MixerKind::kFullAttention:
      case MixerKind::kWindowAttention: {
        Attention attention = make_attention(place, /*cross=*/false);
        const bool windowed = kind == MixerKind::kWindowAttention || architecture_.self == SelfDecoder::kFull;
        attention.window = windowed ? window() : 0;
        layer.writes.push_back(builder_.kv_slot(place, attention.window, 1));
        if (kind == MixerKind::kFullAttention) shared_keys_ = layer.writes.back();
        layer.mixer = attention;
        break;
      }
      case MixerKind::kCrossAttention:
        layer.reads.push_back(shared_keys_);
        layer.mixer = make_attention(place, /*cross=*/true);
        break;
      case MixerKind::kRecurrent:
        add_recurrent(place, layer);
        break;
      case MixerKind::kGatedMemory:
        layer.reads.push_back(memory_);
        layer.mixer = builder_.gated_memory(place, memory_width(), architecture_.normalised_memory);
        break;
    }
  }

  void add_recurrent(const LayerPlace& place, Layer& layer) {
    const auto add = [&](const auto& mixer) {
      layer.writes.push_back(builder_.ssm_slot(place, state_of(mixer)));
      layer.mixer = mixer;
    };
    switch (architecture_.recurrent) {
      case Recurrent::kMamba:
        return add(builder_.mamba(place));
      case Recurrent::kMamba2:
        return add(builder_.mamba2(place));
      case Recurrent::kGatedDelta:
        return add(builder_.gated_delta(place));
    }
  }

  // Layers `first`, first + 1, ... run `repeat` times.
  void add_segment(int32_t first, int32_t count, int32_t repeat) {
    Segment segment;
    segment.repeat = repeat;
    for (int32_t l = 0; l < count; ++l)
      segment.layers.push_back(
          make_layer({.index = first + l, .repeat = repeat, .own_norms = !spec_.share_norms}));
    builder_.plan().segments.push_back(std::move(segment));
  }

  Layer make_layer(const LayerPlace& place) {
    Layer layer;
    layer.index = place.index;
    layer.norm1 = builder_.norm(place, "norm1", norm_kind());
    add_mixer(place, layer);
    if (place.index == memory_layer()) {
      memory_ = builder_.memory_slot(place, memory_width());
      layer.writes.push_back(memory_);
      layer.memory = architecture_.memory;
    }
    layer.norm2 = builder_.norm(place, "norm2", norm_kind());
    layer.mlp = builder_.mlp(place);
    return layer;
  }

  const ModelSpec& spec_;
  const Architecture& architecture_;
  PlanBuilder builder_;
  SlotId shared_keys_ = -1;
  SlotId memory_ = -1;
};

}  // namespace

Result<ModelPlan> hybrid_plan(const ModelSpec& spec) {
  FATHOM_ASSIGN(const Architecture architecture, find_hybrid(spec.architecture));
  FATHOM_TRY(check_hybrid(spec, architecture));
  return HybridBuilder(spec, architecture).build();
}

}  // namespace fathom
