#include <algorithm>

#include "plan/config_dialects.h"
#include "plan/field_reader.h"
#include "plan/rotary_keys.h"

namespace fathom {

namespace {

// The rotary embedding: {"rope_type": "default", "rope_theta": 10000.0}.
Status read_rotary(const nlohmann::json& object, const std::string& prefix, double& theta) {
  FieldReader reader(object, prefix);
  for (const char* kind : {"rope_type", "type"}) FATHOM_TRY(reader.only(kind, "default"));
  FATHOM_TRY(reader.only("partial_rotary_factor", 1.0));
  return reader.number("rope_theta", theta);
}

// `rope_scaling` is the older key, null where nothing is scaled; `rope_parameters` is the newer one.
Status read_rotary_keys(FieldReader& reader, double& theta) {
  FATHOM_TRY(reader.number("rope_theta", theta));
  const nlohmann::json& scaling = reader.raw("rope_scaling");
  if (!scales_nothing(scaling)) return reader.only("rope_scaling", nullptr);
  if (!scaling.is_null()) FATHOM_TRY(read_rotary(scaling, "rope_scaling.", theta));
  const nlohmann::json& parameters = reader.raw("rope_parameters");
  if (parameters.is_null()) return {};
  if (!parameters.is_object()) return invalid("rope_parameters: expected an object");
  return read_rotary(parameters, "rope_parameters.", theta);
}

// A window is none where it is not used or no sequence is longer.
Status check_window(FieldReader& reader, int64_t longest) {
  const nlohmann::json& window = reader.raw("sliding_window");
  const bool wide = window.is_number_integer() && window.get<int64_t>() >= longest;
  if (wide || reader.raw("use_sliding_window") == false) return {};
  return reader.only("sliding_window", nullptr);
}

Status check_layer_types(FieldReader& reader) {
  const nlohmann::json& types = reader.raw("layer_types");
  const auto is_full = [](const nlohmann::json& type) { return type == "full_attention"; };
  if (types.is_array() && std::all_of(types.begin(), types.end(), is_full)) return {};
  return reader.only("layer_types", nullptr);
}

// Keys that would make another model of this one. Whatever else a configuration holds says how the model was
// trained, stored or wrapped, or is not known, and is passed over.
Status check_fixed(FieldReader& reader, const ModelSpec& spec) {
  FATHOM_TRY(reader.only("rope_interleaved", false));
  FATHOM_TRY(reader.only("partial_rotary_factor", 1.0));
  FATHOM_TRY(reader.only("hidden_act", "silu"));
  FATHOM_TRY(reader.only("mlp_bias", false));
  FATHOM_TRY(reader.only("is_encoder_decoder", false));
  FATHOM_TRY(reader.only("quantization_config", nullptr));
  FATHOM_TRY(check_window(reader, spec.max_position_embeddings));
  return check_layer_types(reader);
}

// What the published recursive models leave in their configuration when recursions share keys and values: the
// only word there about their recursion. Only the cache of middle_cycle looks at `update_cache`, and only the
// class of routed models, whose router another file describes, writes it.
Status read_kv_sharing(const nlohmann::json& object, ModelSpec& spec) {
  if (!object.is_object()) return invalid("kv_sharing: expected an object");
  FieldReader reader(object, "kv_sharing.");
  bool enabled = false, update = false;
  FATHOM_TRY(reader.boolean("enable", enabled));
  if (!enabled) return {};
  FATHOM_TRY(reader.boolean("update_cache", update));
  FATHOM_TRY(reader.word("sharing", spec.sharing));
  FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion, Presence::kRequired));
  reader.ignore({"base_depth"});  // follows from the others
  spec.kv = update && spec.sharing == Sharing::kMiddleCycle ? KvMode::kHybrid : KvMode::kShared;
  return reader.finish();
}

}  // namespace

Result<ModelSpec> read_llama_config(const nlohmann::json& object) {
  ModelSpec spec;
  spec.norm_eps = 1e-6;
  spec.tie_word_embeddings = false;
  FieldReader reader(object);
  FATHOM_TRY(reader.integer("vocab_size", spec.vocab_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("hidden_size", spec.hidden_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("intermediate_size", spec.intermediate_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_hidden_layers", spec.num_hidden_layers, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_attention_heads", spec.num_attention_heads, Presence::kRequired));
  spec.num_key_value_heads = spec.num_attention_heads;
  if (!reader.raw("num_key_value_heads").is_null())
    FATHOM_TRY(reader.integer("num_key_value_heads", spec.num_key_value_heads));
  if (!reader.raw("head_dim").is_null()) FATHOM_TRY(reader.integer("head_dim", spec.head_dim));
  FATHOM_TRY(reader.integer("max_position_embeddings", spec.max_position_embeddings));
  FATHOM_TRY(reader.number("rms_norm_eps", spec.norm_eps));
  FATHOM_TRY(reader.boolean("tie_word_embeddings", spec.tie_word_embeddings));
  FATHOM_TRY(reader.number("initializer_range", spec.initializer_range));
  double theta = 10000;
  FATHOM_TRY(read_rotary_keys(reader, theta));
  spec.rope_theta = theta;
  FATHOM_TRY(reader.boolean("attention_bias", spec.attention_bias));
  FATHOM_TRY(check_fixed(reader, spec));
  if (!reader.raw("kv_sharing").is_null()) FATHOM_TRY(read_kv_sharing(reader.raw("kv_sharing"), spec));
  return spec;
}

bool is_plain_llama(const ModelSpec& spec) {
  return spec.architecture == "llama" && spec.sharing == Sharing::kNone &&
         spec.kv == KvMode::kRecursionWise && !spec.rope_table_bf16 && !spec.rope_frequencies_bf16 &&
         spec.sliding_window == 0 && spec.attention_scale == 0 &&
         spec.parametrisation == Parametrisation::kStandard;
}

nlohmann::ordered_json write_llama_config(const ModelSpec& spec) {
  nlohmann::ordered_json out;
  out["architectures"] = {"LlamaForCausalLM"};
  out["model_type"] = "llama";
  out["vocab_size"] = spec.vocab_size;
  out["hidden_size"] = spec.hidden_size;
  out["intermediate_size"] = spec.intermediate_size;
  out["num_hidden_layers"] = spec.num_hidden_layers;
  out["num_attention_heads"] = spec.num_attention_heads;
  out["num_key_value_heads"] = spec.num_key_value_heads;
  if (spec.head_dim > 0) out["head_dim"] = spec.head_dim;
  out["max_position_embeddings"] = spec.max_position_embeddings;
  out["rms_norm_eps"] = spec.norm_eps;
  out["rope_theta"] = spec.rope_theta.value_or(10000.0);
  out["rope_scaling"] = nullptr;
  out["tie_word_embeddings"] = spec.tie_word_embeddings;
  out["initializer_range"] = spec.initializer_range;
  out["hidden_act"] = "silu";
  out["attention_bias"] = spec.attention_bias;
  out["mlp_bias"] = false;
  out["attention_dropout"] = 0.0;
  return out;
}

}  // namespace fathom
