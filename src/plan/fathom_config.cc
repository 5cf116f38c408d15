#include "plan/config_dialects.h"
#include "plan/field_reader.h"
#include "plan/scaling_study.h"

namespace fathom {

namespace {

// Sizes of recurrent mixers that few models have: written where they are not the published ones.
struct RecurrentSize {
  const char* key;
  int64_t ModelSpec::*field;
};
constexpr RecurrentSize kRecurrentSizes[] = {{"mamba2_d_state", &ModelSpec::mamba2_d_state},
                                             {"mamba2_head_dim", &ModelSpec::mamba2_head_dim},
                                             {"mamba2_inner_multiple", &ModelSpec::mamba2_inner_multiple},
                                             {"gdn_key_dim", &ModelSpec::gdn_key_dim},
                                             {"gdn_value_dim", &ModelSpec::gdn_value_dim}};

Result<RouterSpec> read_router(const nlohmann::json& object) {
  if (!object.is_object()) return invalid("router: expected an object");
  FieldReader reader(object, "router.");
  RouterKind kind = RouterKind::kExpertChoice;
  FATHOM_TRY(reader.word("kind", kind));
  RouterSpec router = default_router(kind);
  FATHOM_TRY(reader.word("network", router.network));
  FATHOM_TRY(reader.word("score", router.score));
  FATHOM_TRY(reader.word("gating", router.gating));
  FATHOM_TRY(reader.word("loss", router.loss));
  FATHOM_TRY(reader.number("alpha", router.alpha));
  FATHOM_TRY(reader.number("temperature", router.temperature));
  FATHOM_TRY(reader.integer("mlp_ratio", router.mlp_ratio));
  FATHOM_TRY(reader.number("loss_coefficient", router.loss_coefficient));
  FATHOM_TRY(reader.number("bias_update", router.bias_update));
  FATHOM_TRY(reader.boolean("loss_per_step", router.loss_per_step));
  FATHOM_TRY(reader.number("z_coefficient", router.z_coefficient));
  FATHOM_TRY(reader.integer("capacity_warmup_steps", router.capacity_warmup_steps));
  FATHOM_TRY(reader.integer("balance_warmup_steps", router.balance_warmup_steps));
  FATHOM_TRY(reader.boolean("random", router.random));
  FATHOM_TRY(reader.numbers("capacity", router.capacity));
  FATHOM_TRY(reader.numbers("capacity_low", router.capacity_low));
  FATHOM_TRY(reader.numbers("threshold", router.threshold));
  FATHOM_TRY(reader.finish());
  return router;
}

nlohmann::ordered_json write_router(const RouterSpec& router) {
  nlohmann::ordered_json out;
  out["kind"] = word_of(router.kind);
  out["network"] = word_of(router.network);
  out["score"] = word_of(router.score);
  out["gating"] = word_of(router.gating);
  out["loss"] = word_of(router.loss);
  out["alpha"] = router.alpha;
  out["temperature"] = router.temperature;
  out["mlp_ratio"] = router.mlp_ratio;
  out["loss_coefficient"] = router.loss_coefficient;
  out["bias_update"] = router.bias_update;
  out["loss_per_step"] = router.loss_per_step;
  out["z_coefficient"] = router.z_coefficient;
  out["capacity_warmup_steps"] = router.capacity_warmup_steps;
  out["balance_warmup_steps"] = router.balance_warmup_steps;
  out["random"] = router.random;
  if (!router.capacity.empty()) out["capacity"] = router.capacity;
  if (!router.capacity_low.empty()) out["capacity_low"] = router.capacity_low;
  if (!router.threshold.empty()) out["threshold"] = router.threshold;
  return out;
}

}  // namespace

Result<ModelSpec> read_fathom_config(const nlohmann::json& object) {
  ModelSpec spec;
  FieldReader reader(object);
  FATHOM_TRY(reader.only("model_type", "fathom"));
  FATHOM_TRY(reader.string("architecture", spec.architecture, Presence::kRequired));
  FATHOM_TRY(reader.integer("vocab_size", spec.vocab_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("num_hidden_layers", spec.num_hidden_layers, Presence::kRequired));
  // Without a width the depth says all of it, for the architectures of the scaling study.
  const bool shaped = !reader.has("hidden_size") && has_study_shape(spec.architecture);
  if (shaped) FATHOM_TRY(give_study_shape(spec));
  const Presence presence = shaped ? Presence::kOptional : Presence::kRequired;
  FATHOM_TRY(reader.integer("hidden_size", spec.hidden_size, presence));
  FATHOM_TRY(reader.integer("intermediate_size", spec.intermediate_size, presence));
  FATHOM_TRY(reader.integer("num_attention_heads", spec.num_attention_heads, presence));
  FATHOM_TRY(reader.integer("num_key_value_heads", spec.num_key_value_heads, presence));
  FATHOM_TRY(reader.integer("head_dim", spec.head_dim));
  FATHOM_TRY(reader.integer("max_position_embeddings", spec.max_position_embeddings));
  FATHOM_TRY(reader.number("norm_eps", spec.norm_eps));
  FATHOM_TRY(reader.boolean("tie_word_embeddings", spec.tie_word_embeddings));
  FATHOM_TRY(reader.number("initializer_range", spec.initializer_range));
  if (reader.has("rope_theta")) {
    spec.rope_theta = 0;
    FATHOM_TRY(reader.number("rope_theta", *spec.rope_theta));
  }
  FATHOM_TRY(reader.boolean("rope_table_bf16", spec.rope_table_bf16));
  FATHOM_TRY(reader.boolean("rope_frequencies_bf16", spec.rope_frequencies_bf16));
  if (reader.has("sliding_window")) {
    FATHOM_TRY(reader.integer("sliding_window", spec.sliding_window));
    if (spec.sliding_window < 1) {
      return invalid("sliding_window: found " + std::to_string(spec.sliding_window) +
                     ", expected at least 1 (the token itself)");
    }
  }
  FATHOM_TRY(reader.number("attention_scale", spec.attention_scale));
  FATHOM_TRY(reader.boolean("attention_bias", spec.attention_bias));
  FATHOM_TRY(reader.integer("mamba_expand", spec.mamba_expand));
  FATHOM_TRY(reader.integer("mamba_d_state", spec.mamba_d_state));
  FATHOM_TRY(reader.integer("mamba_d_conv", spec.mamba_d_conv));
  for (const RecurrentSize& size : kRecurrentSizes) FATHOM_TRY(reader.integer(size.key, spec.*size.field));
  FATHOM_TRY(reader.word("sharing", spec.sharing));
  FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion));
  FATHOM_TRY(reader.boolean("share_norms", spec.share_norms));
  FATHOM_TRY(reader.boolean("share_attention", spec.share_attention));
  FATHOM_TRY(reader.word("kv", spec.kv));
  FATHOM_TRY(reader.word("kv_sharing", spec.kv_sharing));
  if (reader.has("initialization")) {
    spec.initialization = Initialization::kRandom;
    FATHOM_TRY(reader.word("initialization", *spec.initialization));
  }
  FATHOM_TRY(reader.integer("base_depth", spec.base_depth));
  FATHOM_TRY(reader.word("parametrisation", spec.parametrisation));
  FATHOM_TRY(reader.integer("mup_base_depth", spec.mup_base_depth));
  if (reader.has("router")) {
    FATHOM_ASSIGN(spec.router, read_router(reader.raw("router")));
  }
  if (reader.has("relaxation")) {
    FATHOM_ASSIGN(spec.relaxation, read_relaxation(reader.raw("relaxation")));
  }
  FATHOM_TRY(reader.finish());
  return spec;
}

nlohmann::ordered_json write_fathom_config(const ModelSpec& spec) {
  nlohmann::ordered_json out;
  out["model_type"] = "fathom";
  out["architecture"] = spec.architecture;
  out["vocab_size"] = spec.vocab_size;
  out["hidden_size"] = spec.hidden_size;
  out["intermediate_size"] = spec.intermediate_size;
  out["num_hidden_layers"] = spec.num_hidden_layers;
  out["num_attention_heads"] = spec.num_attention_heads;
  out["num_key_value_heads"] = spec.num_key_value_heads;
  out["head_dim"] = spec.head_dim;
  out["max_position_embeddings"] = spec.max_position_embeddings;
  out["norm_eps"] = spec.norm_eps;
  out["tie_word_embeddings"] = spec.tie_word_embeddings;
  out["initializer_range"] = spec.initializer_range;
  if (spec.rope_theta) out["rope_theta"] = *spec.rope_theta;
  out["rope_table_bf16"] = spec.rope_table_bf16;
  if (spec.rope_frequencies_bf16) out["rope_frequencies_bf16"] = true;
  if (spec.sliding_window > 0) out["sliding_window"] = spec.sliding_window;
  if (spec.attention_scale > 0) out["attention_scale"] = spec.attention_scale;
  out["attention_bias"] = spec.attention_bias;
  out["mamba_expand"] = spec.mamba_expand;
  out["mamba_d_state"] = spec.mamba_d_state;
  out["mamba_d_conv"] = spec.mamba_d_conv;
  for (const RecurrentSize& size : kRecurrentSizes) {
    if (spec.*size.field != ModelSpec().*size.field) out[size.key] = spec.*size.field;
  }
  out["sharing"] = word_of(spec.sharing);
  out["num_recursion"] = spec.num_recursion;
  out["share_norms"] = spec.share_norms;
  out["share_attention"] = spec.share_attention;
  out["kv"] = word_of(spec.kv);
  if (spec.kv_sharing != ModelSpec().kv_sharing) out["kv_sharing"] = word_of(spec.kv_sharing);
  if (spec.initialization) out["initialization"] = word_of(*spec.initialization);
  if (spec.base_depth > 0) out["base_depth"] = spec.base_depth;
  out["parametrisation"] = word_of(spec.parametrisation);
  out["mup_base_depth"] = spec.mup_base_depth;
  if (spec.router) out["router"] = write_router(*spec.router);
  if (spec.relaxation) out["relaxation"] = write_relaxation(*spec.relaxation);
  return out;
}

}  // namespace fathom
