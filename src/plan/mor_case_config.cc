#include "plan/config_dialects.h"
#include "plan/field_reader.h"

namespace fathom {

namespace {

Status read_token_choice(FieldReader& reader, RouterSpec& router) {
  std::string balancing = "loss";
  FATHOM_TRY(reader.string("balancing", balancing));
  if (balancing == "loss") {
    router.loss = RouterLoss::kBalancing;
  } else if (balancing == "loss_free") {
    router.loss = RouterLoss::kLossFree;
  } else {
    return invalid("plain.mor.balancing: found \"" + balancing + "\", expected \"loss\" or \"loss_free\"");
  }
  FATHOM_TRY(reader.number("balancing_coeff", router.loss_coefficient));
  FATHOM_TRY(reader.number("bias_update", router.bias_update));
  return reader.integer("bal_warmup_step", router.balance_warmup_steps);
}

Status read_expert_choice(FieldReader& reader, RouterSpec& router) {
  FATHOM_TRY(reader.word("sampling", router.loss));
  FATHOM_TRY(reader.number("aux_coeff", router.loss_coefficient));
  FATHOM_TRY(reader.integer("cap_warmup_step", router.capacity_warmup_steps));
  FATHOM_TRY(reader.numbers("capacity", router.capacity));
  reader.ignore({"capacity_string"});  // the same numbers as text
  return {};
}

Result<RouterSpec> read_mor(const nlohmann::json& object) {
  if (!object.is_object()) return invalid("plain.mor: expected an object");
  RouterSpec router;
  FieldReader reader(object, "plain.mor.");
  FATHOM_TRY(reader.word("type", router.kind));
  FATHOM_TRY(reader.word("router_type", router.network));
  FATHOM_TRY(reader.number("temp", router.temperature));
  FATHOM_TRY(reader.boolean("rand_router", router.random));
  bool z_loss = false;
  FATHOM_TRY(reader.boolean("z_loss", z_loss));
  FATHOM_TRY(reader.number("z_coeff", router.z_coefficient));
  if (!z_loss) router.z_coefficient = 0;
  if (reader.raw("score_function").is_null()) {
    router.score = ScoreFunction::kNone;
  } else {
    FATHOM_TRY(reader.word("score_function", router.score));
  }
  FATHOM_TRY(reader.number("alpha", router.alpha));
  FATHOM_TRY(reader.word("gating", router.gating));
  FATHOM_TRY(router.kind == RouterKind::kTokenChoice ? read_token_choice(reader, router)
                                                     : read_expert_choice(reader, router));
  FATHOM_TRY(reader.finish());
  return router;
}

Status read_kv_sharing(const nlohmann::json& object, ModelSpec& spec) {
  if (!object.is_object()) return invalid("plain.kv_sharing: expected an object");
  FieldReader reader(object, "plain.kv_sharing.");
  bool enabled = false, update = false;
  FATHOM_TRY(reader.boolean("enable", enabled));
  FATHOM_TRY(reader.boolean("update_cache", update));
  reader.ignore({"base_depth"});
  if (spec.sharing == Sharing::kNone && enabled) {
    // Vanilla weights: the recursion is that of the keys and values alone.
    FATHOM_TRY(reader.only("sharing", "cycle"));
    FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion, Presence::kRequired));
    spec.tie_word_embeddings = false;  // the class of plain recursive models
  } else {
    reader.ignore({"num_recursion", "sharing"});  // those of the weights
  }
  if (enabled) spec.kv = update ? KvMode::kHybrid : KvMode::kShared;
  return reader.finish();
}

// The rule that made the weights of a recursive model: only the authors' own keys say it.
Status read_initialization(const nlohmann::json& authors, ModelSpec& spec) {
  if (spec.sharing == Sharing::kNone || !authors.is_object() || !authors.contains("recursive")) return {};
  const nlohmann::json& recursive = authors["recursive"];
  if (!recursive.is_object()) return invalid("authors_config.recursive: expected an object");
  FieldReader reader(recursive, "authors_config.recursive.");
  if (reader.raw("initialization").is_null()) return {};
  spec.initialization = Initialization::kRandom;
  return reader.word("initialization", *spec.initialization);
}

Status same(const char* key, int64_t plain, int64_t llama) {
  if (plain == llama) return {};
  return invalid(std::string(key) + ": plain says " + std::to_string(plain) + ", llama_config " +
                 std::to_string(llama));
}

// Sizes are said twice, under two names.
Status read_sizes(FieldReader& reader, const ModelSpec& spec) {
  const auto check = [&](const char* key, int64_t expected) -> Status {
    int64_t value = expected;
    FATHOM_TRY(reader.integer(key, value));
    return same(key, value, expected);
  };
  FATHOM_TRY(check("vocab_size", spec.vocab_size));
  FATHOM_TRY(check("hidden_size", spec.hidden_size));
  FATHOM_TRY(check("intermediate_size", spec.intermediate_size));
  FATHOM_TRY(check("num_layers_unrolled", spec.num_hidden_layers));
  FATHOM_TRY(check("num_attention_heads", spec.num_attention_heads));
  FATHOM_TRY(check("num_key_value_heads", spec.num_key_value_heads));
  FATHOM_TRY(check("head_dim", spec.head_dim));
  return check("max_position_embeddings", spec.max_position_embeddings);
}

}  // namespace

Result<ModelSpec> read_mor_case_config(const nlohmann::json& object) {
  FieldReader top(object);
  const nlohmann::json& plain = top.raw("plain");
  const nlohmann::json& llama = top.raw("llama_config");
  const nlohmann::json& authors = top.raw("authors_config");  // the same as `plain`, and training options
  FATHOM_TRY(top.finish());
  if (!plain.is_object() || !llama.is_object()) return invalid("plain, llama_config: expected two objects");
  FATHOM_ASSIGN(ModelSpec spec, read_llama_config(llama));

  FieldReader reader(plain, "plain.");
  FATHOM_TRY(read_sizes(reader, spec));
  FATHOM_TRY(reader.number("rope_theta", *spec.rope_theta));
  FATHOM_TRY(reader.number("rms_norm_eps", spec.norm_eps));
  FATHOM_TRY(reader.boolean("tie_word_embeddings_flag", spec.tie_word_embeddings));
  reader.ignore({"attention_scale", "base_depth"});  // follow from the sizes
  FATHOM_TRY(reader.word("sharing", spec.sharing));
  if (spec.sharing != Sharing::kNone)
    FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion, Presence::kRequired));
  FATHOM_TRY(reader.boolean("share_norm_weights", spec.share_norms));
  FATHOM_TRY(read_initialization(authors, spec));
  if (reader.has("mor")) {
    FATHOM_ASSIGN(spec.router, read_mor(reader.raw("mor")));
  }
  if (reader.has("kv_sharing")) FATHOM_TRY(read_kv_sharing(reader.raw("kv_sharing"), spec));
  if (reader.has("relaxation")) {
    FATHOM_ASSIGN(spec.relaxation, read_case_relaxation(reader.raw("relaxation")));
  }
  // The published class of plain recursive models never ties its head, whatever its configuration says.
  if (spec.sharing != Sharing::kNone && !spec.router) spec.tie_word_embeddings = false;
  FATHOM_TRY(reader.finish());
  return spec;
}

}  // namespace fathom
