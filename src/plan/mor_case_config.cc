#include <algorithm>
#include <cmath>

#include "base/extents.h"
#include "plan/config_dialects.h"
#include "plan/field_reader.h"

namespace fathom {

namespace {

// Null stands for an absent number.
Status integer_or_null(FieldReader& reader, const std::string& key, int64_t& value) {
  return reader.raw(key).is_null() ? Status() : reader.integer(key, value);
}

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
  if (router.random) {  // has neither loss, whatever is said of them
    router.loss = RouterLoss::kNone;
    router.z_coefficient = 0;
  }
  return integer_or_null(reader, "bal_warmup_step", router.balance_warmup_steps);
}

Status read_expert_choice(FieldReader& reader, RouterSpec& router) {
  FATHOM_TRY(reader.word("sampling", router.loss));
  FATHOM_TRY(reader.number("aux_coeff", router.loss_coefficient));
  FATHOM_TRY(integer_or_null(reader, "cap_warmup_step", router.capacity_warmup_steps));
  if (!reader.raw("capacity").is_null()) FATHOM_TRY(reader.numbers("capacity", router.capacity));
  reader.ignore({"capacity_string"});  // the same numbers as text
  return {};
}

Result<int64_t> calls_of(const char* key, int64_t steps, int64_t accumulation) {
  const auto calls = steps >= 0 && accumulation >= 1
                         ? checked_mul(static_cast<uint64_t>(steps), static_cast<uint64_t>(accumulation))
                         : std::nullopt;
  if (calls && *calls <= static_cast<uint64_t>(INT64_MAX)) return static_cast<int64_t>(*calls);
  return invalid("authors_config." + std::string(key) + ": found " + std::to_string(steps) +
                 " steps of gradient_accumulation_steps = " + std::to_string(accumulation) +
                 ", expected a number of forward calls");
}

// The authors' own keys say how many forward calls a warm-up takes: that of token choice is counted in steps,
// and expert choice without one has the learning rate's. They win over `plain`, which has the bare number.
Status read_warmup(const nlohmann::json& authors, RouterSpec& router) {
  const bool expert = router.kind == RouterKind::kExpertChoice;
  const std::string kind = expert ? "expert" : "token";
  if (!authors.is_object() || !authors.contains("mor") || !authors["mor"].is_object() ||
      !authors["mor"].contains(kind))
    return {};
  const nlohmann::json& options = authors["mor"][kind];
  if (!options.is_object()) return invalid("authors_config.mor." + kind + ": expected an object");
  FieldReader training(authors, "authors_config."), reader(options, "authors_config.mor." + kind + ".");
  int64_t accumulation = 1, steps = 0;
  FATHOM_TRY(integer_or_null(training, "gradient_accumulation_steps", accumulation));
  if (!expert) {
    FATHOM_TRY(integer_or_null(reader, "bal_warmup_step", steps));
    FATHOM_ASSIGN(router.balance_warmup_steps, calls_of("mor.token.bal_warmup_step", steps, accumulation));
    return {};
  }
  if (!reader.raw("cap_warmup_step").is_null())
    return reader.integer("cap_warmup_step", router.capacity_warmup_steps);
  if (training.raw("num_warmup_steps").is_null()) {
    FATHOM_TRY(integer_or_null(training, "num_train_steps", steps));
    steps = static_cast<int64_t>(0.05 * static_cast<double>(steps));
  } else {
    FATHOM_TRY(training.integer("num_warmup_steps", steps));
  }
  FATHOM_ASSIGN(router.capacity_warmup_steps, calls_of("num_warmup_steps", steps, accumulation));
  return {};
}

Result<RouterSpec> read_mor(const nlohmann::json& object, const nlohmann::json& authors) {
  if (!object.is_object()) return invalid("plain.mor: expected an object");
  FieldReader reader(object, "plain.mor.");
  RouterKind kind = RouterKind::kExpertChoice;
  FATHOM_TRY(reader.word("type", kind));
  RouterSpec router = default_router(kind);
  FATHOM_TRY(reader.word("router_type", router.network));
  FATHOM_TRY(reader.number("temp", router.temperature));
  FATHOM_TRY(reader.boolean("rand_router", router.random));
  bool z_loss = false;
  router.z_coefficient = 1e-3;
  FATHOM_TRY(reader.boolean("z_loss", z_loss));
  FATHOM_TRY(reader.number("z_coeff", router.z_coefficient));
  if (!z_loss) router.z_coefficient = 0;
  if (reader.has("score_function") && reader.raw("score_function").is_null()) {
    router.score = ScoreFunction::kNone;
  } else {
    FATHOM_TRY(reader.word("score_function", router.score));
  }
  if (router.score == ScoreFunction::kSigmoid) router.alpha = 0.1;
  FATHOM_TRY(reader.number("alpha", router.alpha));
  FATHOM_TRY(reader.word("gating", router.gating));
  FATHOM_TRY(router.kind == RouterKind::kTokenChoice ? read_token_choice(reader, router)
                                                     : read_expert_choice(reader, router));
  FATHOM_TRY(reader.finish());
  FATHOM_TRY(read_warmup(authors, router));
  return router;
}

// The published cache replaces entries of the first recursion by those of later ones for expert choice over
// middle_cycle; no other model looks at the flag.
KvMode kv_mode_of(const ModelSpec& spec, bool update) {
  const bool expert = spec.router && spec.router->kind == RouterKind::kExpertChoice;
  return update && expert && spec.sharing == Sharing::kMiddleCycle ? KvMode::kHybrid : KvMode::kShared;
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
    Sharing strategy = spec.kv_sharing;
    FATHOM_TRY(reader.word("sharing", strategy));
    FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion, Presence::kRequired));
    if (spec.num_recursion != 1) spec.kv_sharing = strategy;
    spec.tie_word_embeddings = false;  // the class of plain recursive models
  } else {
    reader.ignore({"num_recursion", "sharing"});  // those of the weights
  }
  // One recursion shares with itself.
  if (enabled) spec.kv = spec.num_recursion == 1 ? KvMode::kRecursionWise : kv_mode_of(spec, update);
  return reader.finish();
}

// The baseline of reduced depth, in which nothing is shared: how many layers it keeps, in the authors' keys
// or beside the others.
Status read_base_depth(FieldReader& plain, const nlohmann::json& authors, ModelSpec& spec) {
  FATHOM_TRY(integer_or_null(plain, "base_depth", spec.base_depth));
  if (authors.is_object() && authors.contains("recursive") && authors["recursive"].is_object()) {
    FieldReader recursive(authors["recursive"], "authors_config.recursive.");
    FATHOM_TRY(integer_or_null(recursive, "base_depth", spec.base_depth));
  }
  spec.share_norms = true;
  if (spec.base_depth > 0) return {};
  return invalid("plain.base_depth: found " + std::to_string(spec.base_depth) +
                 ", expected the layers that num_recursion = 1 keeps");
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

Error says_two(const char* key, int64_t plain, int64_t llama) {
  return invalid(std::string(key) + ": plain says " + std::to_string(plain) + ", llama_config " +
                 std::to_string(llama));
}

// Sizes are said twice, under two names.
Status read_sizes(FieldReader& reader, ModelSpec& spec) {
  const auto check = [&](const char* key, int64_t expected) -> Status {
    int64_t value = expected;
    FATHOM_TRY(reader.integer(key, value));
    return value == expected ? Status() : Status(says_two(key, value, expected));
  };
  FATHOM_TRY(check("vocab_size", spec.vocab_size));
  FATHOM_TRY(check("hidden_size", spec.hidden_size));
  FATHOM_TRY(check("intermediate_size", spec.intermediate_size));
  FATHOM_TRY(check("num_attention_heads", spec.num_attention_heads));
  FATHOM_TRY(check("num_key_value_heads", spec.num_key_value_heads));
  if (spec.head_dim > 0) {
    FATHOM_TRY(check("head_dim", spec.head_dim));
  } else {
    FATHOM_TRY(reader.integer("head_dim", spec.head_dim));
  }
  return check("max_position_embeddings", spec.max_position_embeddings);
}

// Recorded as a number, which is the usual one up to its last digit, or another.
Status read_attention_scale(FieldReader& reader, ModelSpec& spec) {
  double scale = 0;
  FATHOM_TRY(reader.number("attention_scale", scale));
  const int64_t head_dim = spec.head_dim > 0 || spec.num_attention_heads < 1
                               ? spec.head_dim
                               : spec.hidden_size / spec.num_attention_heads;
  if (std::abs(scale * std::sqrt(static_cast<double>(head_dim)) - 1) > 1e-9) spec.attention_scale = scale;
  return {};
}

// How many of `layers` run: those that fill no recursion are dropped. check_spec() refuses fewer than one in
// its words.
int64_t layers_left(const ModelSpec& spec, int64_t layers) {
  if (spec.sharing == Sharing::kNone || spec.num_recursion < 1 || layers < 1) return layers;
  if (spec.base_depth > 0) return std::min(spec.base_depth, layers);
  const bool middle = spec.sharing == Sharing::kMiddleCycle || spec.sharing == Sharing::kMiddleSequence;
  const int64_t ends = middle ? 2 : 0;
  return (layers - ends) / spec.num_recursion * spec.num_recursion + ends;
}

// Either number of layers may be that before or after some are dropped; the spec has the one before.
Status read_layers(FieldReader& reader, ModelSpec& spec) {
  int64_t unrolled = spec.num_hidden_layers;
  FATHOM_TRY(reader.integer("num_layers_unrolled", unrolled));
  if (layers_left(spec, unrolled) != layers_left(spec, spec.num_hidden_layers))
    return says_two("num_layers_unrolled", unrolled, spec.num_hidden_layers);
  spec.num_hidden_layers = std::max(spec.num_hidden_layers, unrolled);
  return {};
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
  FATHOM_TRY(read_attention_scale(reader, spec));
  FATHOM_TRY(reader.number("rope_theta", *spec.rope_theta));
  FATHOM_TRY(reader.number("rms_norm_eps", spec.norm_eps));
  FATHOM_TRY(reader.boolean("tie_word_embeddings_flag", spec.tie_word_embeddings));
  reader.ignore({"base_depth"});  // follows from the sizes, but for one recursion
  FATHOM_TRY(reader.word("sharing", spec.sharing));
  if (spec.sharing != Sharing::kNone)
    FATHOM_TRY(reader.integer("num_recursion", spec.num_recursion, Presence::kRequired));
  FATHOM_TRY(reader.boolean("share_norm_weights", spec.share_norms));
  if (spec.sharing != Sharing::kNone && spec.num_recursion == 1)
    FATHOM_TRY(read_base_depth(reader, authors, spec));
  FATHOM_TRY(read_layers(reader, spec));
  FATHOM_TRY(read_initialization(authors, spec));
  if (reader.has("mor")) {
    FATHOM_ASSIGN(spec.router, read_mor(reader.raw("mor"), authors));
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
