#include "plan/config_dialects.h"
#include "plan/field_reader.h"

namespace fathom {

namespace {

// The newer spelling of the rotary embedding: {"rope_type": "default", "rope_theta": 10000.0}.
Status read_rope_parameters(const nlohmann::json& object, double& theta) {
  if (object.is_null()) return {};
  if (!object.is_object()) return invalid("rope_parameters: expected an object");
  FieldReader reader(object, "rope_parameters.");
  FATHOM_TRY(reader.only("rope_type", "default"));
  FATHOM_TRY(reader.number("rope_theta", theta));
  return reader.finish();
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
  FATHOM_TRY(reader.number("rope_theta", theta));
  FATHOM_TRY(read_rope_parameters(reader.raw("rope_parameters"), theta));
  spec.rope_theta = theta;
  FATHOM_TRY(reader.boolean("attention_bias", spec.attention_bias));
  FATHOM_TRY(reader.only("rope_scaling", nullptr));
  FATHOM_TRY(reader.only("rope_interleaved", false));
  FATHOM_TRY(reader.only("hidden_act", "silu"));
  FATHOM_TRY(reader.only("mlp_bias", false));
  FATHOM_TRY(reader.only("attention_dropout", 0.0));
  FATHOM_TRY(reader.only("pretraining_tp", 1));
  if (!reader.raw("kv_sharing").is_null()) FATHOM_TRY(read_kv_sharing(reader.raw("kv_sharing"), spec));
  reader.ignore({"model_type", "architectures", "_name_or_path", "transformers_version", "torch_dtype",
                 "dtype", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id", "is_llama_config",
                 "_attn_implementation_autoset", "transformers.js_config"});
  FATHOM_TRY(reader.finish());
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
