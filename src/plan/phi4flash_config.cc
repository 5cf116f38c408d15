#include "base/extents.h"
#include "plan/config_dialects.h"
#include "plan/field_reader.h"
#include "plan/rotary_keys.h"

namespace fathom {

namespace {

bool is_windowed(size_t layer, const ModelSpec& spec) {
  return layer % 2 == 1 && static_cast<int64_t>(layer) < spec.num_hidden_layers / 2;
}

// An integer, or a list with one entry per layer: the window of windowed layers, null elsewhere.
Status read_window(const nlohmann::json& value, ModelSpec& spec) {
  if (value.is_number_integer()) {
    spec.sliding_window = value.get<int64_t>();
    if (spec.sliding_window >= 1) return {};
    return invalid("sliding_window: found " + value.dump() + ", expected at least 1");
  }
  if (!value.is_array() || static_cast<int64_t>(value.size()) != spec.num_hidden_layers) {
    return invalid("sliding_window: expected an integer or a list of " +
                   std::to_string(spec.num_hidden_layers) + " entries");
  }
  for (size_t l = 0; l < value.size(); ++l) {
    const bool windowed = is_windowed(l, spec);
    const bool fits =
        windowed ? value[l].is_number_integer() && value[l].get<int64_t>() >= 1 : value[l].is_null();
    const bool first = spec.sliding_window == 0;
    if (!fits || (windowed && !first && value[l].get<int64_t>() != spec.sliding_window)) {
      return invalid("sliding_window: entry " + std::to_string(l) + " is " + value[l].dump() + ", expected " +
                     (windowed ? "the window of all windowed layers" : "null"));
    }
    if (windowed) spec.sliding_window = value[l].get<int64_t>();
  }
  return {};
}

// Which layers there are follows from their number. The names of attention, where a list is there, must not
// say otherwise; others are not known.
Status check_layer_types(const nlohmann::json& types, const ModelSpec& spec) {
  if (types.is_null()) return {};
  if (!types.is_array() || static_cast<int64_t>(types.size()) != spec.num_hidden_layers)
    return invalid("layer_types: expected a list of " + std::to_string(spec.num_hidden_layers) + " entries");
  for (size_t l = 0; l < types.size(); ++l) {
    const bool fits =
        types[l].is_string() && types[l] != (is_windowed(l, spec) ? "full_attention" : "sliding_attention");
    if (!fits) {
      return invalid("layer_types: entry " + std::to_string(l) + " is " + types[l].dump() +
                     ", expected the name of " +
                     (is_windowed(l, spec) ? "a windowed layer" : "one without a window"));
    }
  }
  return {};
}

// Keys that would make another model of this one. Whatever else a configuration holds says how the model was
// trained, stored or wrapped, speaks of positions, which this one does not encode, or is not known, and is
// passed over.
Status check_fixed(FieldReader& reader) {
  FATHOM_TRY(reader.only("hidden_act", "silu"));
  FATHOM_TRY(reader.only("mb_per_layer", 2));
  FATHOM_TRY(reader.only("mamba_conv_bias", true));
  FATHOM_TRY(reader.only("mamba_proj_bias", false));
  FATHOM_TRY(reader.only("mlp_bias", false));
  FATHOM_TRY(reader.only("lm_head_bias", false));
  if (!scales_nothing(reader.raw("rope_scaling"))) FATHOM_TRY(reader.only("rope_scaling", nullptr));
  FATHOM_TRY(reader.only("is_encoder_decoder", false));
  return reader.only("quantization_config", nullptr);
}

}  // namespace

Result<ModelSpec> read_phi4flash_config(const nlohmann::json& object) {
  ModelSpec spec;
  spec.architecture = "phi4flash";
  FieldReader reader(object);
  // The defaults of the published class are not those of the published model, so these must be there.
  FATHOM_TRY(reader.integer("vocab_size", spec.vocab_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("hidden_size", spec.hidden_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("intermediate_size", spec.intermediate_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_hidden_layers", spec.num_hidden_layers, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_attention_heads", spec.num_attention_heads, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_key_value_heads", spec.num_key_value_heads, Presence::kRequired));
  FATHOM_TRY(reader.integer("max_position_embeddings", spec.max_position_embeddings, Presence::kRequired));
  // The published class has no key for it.
  if (spec.num_attention_heads > 0 && spec.hidden_size % spec.num_attention_heads == 0)
    spec.head_dim = spec.hidden_size / spec.num_attention_heads;
  FATHOM_TRY(read_window(reader.raw("sliding_window"), spec));
  FATHOM_TRY(reader.number("layer_norm_eps", spec.norm_eps));
  FATHOM_TRY(reader.boolean("tie_word_embeddings", spec.tie_word_embeddings));
  FATHOM_TRY(reader.number("initializer_range", spec.initializer_range));
  FATHOM_TRY(reader.integer("mamba_d_state", spec.mamba_d_state));
  FATHOM_TRY(reader.integer("mamba_d_conv", spec.mamba_d_conv));
  FATHOM_TRY(reader.integer("mamba_expand", spec.mamba_expand));
  const nlohmann::json& rank = reader.raw("mamba_dt_rank");
  constexpr int64_t kMost = 1 << 20;
  const bool sane = spec.hidden_size > 0 && spec.hidden_size <= kMost;  // check_spec() says so in its words
  if (sane && !rank.is_null() && rank != "auto" && rank != ceil_div(spec.hidden_size, 16))
    return not_supported("not supported yet: mamba_dt_rank = " + rank.dump());
  FATHOM_TRY(check_layer_types(reader.raw("layer_types"), spec));
  FATHOM_TRY(check_fixed(reader));
  return spec;
}

nlohmann::ordered_json write_phi4flash_config(const ModelSpec& spec) {
  return {{"architectures", {"Phi4FlashForCausalLM"}},
          {"model_type", "phi4flash"},
          {"vocab_size", spec.vocab_size},
          {"hidden_size", spec.hidden_size},
          {"intermediate_size", spec.intermediate_size},
          {"num_hidden_layers", spec.num_hidden_layers},
          {"num_attention_heads", spec.num_attention_heads},
          {"num_key_value_heads", spec.num_key_value_heads},
          {"max_position_embeddings", spec.max_position_embeddings},
          {"sliding_window", spec.sliding_window},
          {"layer_norm_eps", spec.norm_eps},
          {"hidden_act", "silu"},
          {"mb_per_layer", 2},
          {"mamba_d_state", spec.mamba_d_state},
          {"mamba_d_conv", spec.mamba_d_conv},
          {"mamba_expand", spec.mamba_expand},
          {"mamba_conv_bias", true},
          {"mamba_proj_bias", false},
          {"initializer_range", spec.initializer_range},
          {"tie_word_embeddings", spec.tie_word_embeddings}};
}

}  // namespace fathom
