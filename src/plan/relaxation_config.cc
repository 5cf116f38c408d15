// The relaxation of shared layers, in Fathom's own words and in those of the reference cases.
#include "plan/config_dialects.h"
#include "plan/field_reader.h"

namespace fathom {

// Keys of other methods are unknown ones.
Result<RelaxationSpec> read_relaxation(const nlohmann::json& object) {
  if (!object.is_object()) return invalid("relaxation: expected an object");
  RelaxationSpec relaxation;
  FieldReader reader(object, "relaxation.");
  if (!reader.has("method")) {
    return invalid(
        "relaxation.method: absent, expected one of \"lora\", \"dora\", \"adaption_prompt\", "
        "\"recursion_encoding\"");
  }
  FATHOM_TRY(reader.word("method", relaxation.method));
  switch (relaxation.method) {
    case RelaxationMethod::kLora:
    case RelaxationMethod::kDora:
      FATHOM_TRY(reader.integer("rank", relaxation.rank));
      FATHOM_TRY(reader.number("alpha", relaxation.alpha));
      FATHOM_TRY(reader.number("dropout", relaxation.dropout));
      FATHOM_TRY(reader.words("targets", relaxation.targets));
      FATHOM_TRY(reader.integer("attention_rank", relaxation.attention_rank));
      FATHOM_TRY(reader.integer("mlp_rank", relaxation.mlp_rank));
      FATHOM_TRY(reader.boolean("own_rank_scaling", relaxation.own_rank_scaling));
      FATHOM_TRY(reader.word("svd_init", relaxation.svd_init));
      break;
    case RelaxationMethod::kAdaptionPrompt:
      FATHOM_TRY(reader.integer("prompt_length", relaxation.prompt_length));
      break;
    case RelaxationMethod::kRecursionEncoding:
      break;
  }
  FATHOM_TRY(reader.finish());
  return relaxation;
}

nlohmann::ordered_json write_relaxation(const RelaxationSpec& relaxation) {
  nlohmann::ordered_json out;
  out["method"] = word_of(relaxation.method);
  if (relaxation.method == RelaxationMethod::kLora || relaxation.method == RelaxationMethod::kDora) {
    out["rank"] = relaxation.rank;
    if (relaxation.alpha > 0) out["alpha"] = relaxation.alpha;
    out["dropout"] = relaxation.dropout;
    for (Projection target : relaxation.targets) out["targets"].push_back(word_of(target));
    if (relaxation.attention_rank > 0) out["attention_rank"] = relaxation.attention_rank;
    if (relaxation.mlp_rank > 0) out["mlp_rank"] = relaxation.mlp_rank;
    if (relaxation.own_rank_scaling) out["own_rank_scaling"] = true;
    out["svd_init"] = word_of(relaxation.svd_init);
  }
  if (relaxation.method == RelaxationMethod::kAdaptionPrompt) out["prompt_length"] = relaxation.prompt_length;
  return out;
}

namespace {

// {"self_attn", "ffn"}, either of which may be null: ranks of the query, key and value projections and of
// those of the MLP.
Status read_case_ranks(const nlohmann::json& object, RelaxationSpec& relaxation) {
  if (object.is_null()) return {};
  if (!object.is_object()) return invalid("plain.relaxation.lora.rank_pattern: expected an object");
  FieldReader reader(object, "plain.relaxation.lora.rank_pattern.");
  if (!reader.raw("self_attn").is_null()) FATHOM_TRY(reader.integer("self_attn", relaxation.attention_rank));
  if (!reader.raw("ffn").is_null()) FATHOM_TRY(reader.integer("ffn", relaxation.mlp_rank));
  return reader.finish();
}

// {"r", "alpha", ...}. The change of a matrix is scaled by alpha over its own rank, where alpha is
// alpha_pattern times that rank, if there is a pattern, so that the pattern is what scales all of them.
Status read_case_lora(const nlohmann::json& object, RelaxationSpec& relaxation) {
  if (!object.is_object()) return invalid("plain.relaxation.lora: expected an object");
  FieldReader reader(object, "plain.relaxation.lora.");
  double pattern = reader.has("alpha_pattern") ? 0 : 2;
  bool svd_init = false;
  FATHOM_TRY(reader.integer("r", relaxation.rank, Presence::kRequired));
  if (!reader.raw("alpha_pattern").is_null()) FATHOM_TRY(reader.number("alpha_pattern", pattern));
  FATHOM_TRY(reader.number("dropout", relaxation.dropout));
  FATHOM_TRY(reader.words("target_modules", relaxation.targets));
  FATHOM_TRY(reader.boolean("svd_init", svd_init));
  FATHOM_TRY(read_case_ranks(reader.raw("rank_pattern"), relaxation));
  reader.ignore({"alpha"});
  relaxation.alpha = pattern * static_cast<double>(relaxation.rank);
  if (pattern == 0) {
    FATHOM_TRY(reader.number("alpha", relaxation.alpha, Presence::kRequired));
    relaxation.own_rank_scaling = true;
  }
  if (svd_init) relaxation.svd_init = SvdInit::kPublished;
  return reader.finish();
}

}  // namespace

// All methods have their options there, and one of them is named.
Result<std::optional<RelaxationSpec>> read_case_relaxation(const nlohmann::json& object) {
  if (!object.is_object()) return invalid("plain.relaxation: expected an object");
  FieldReader reader(object, "plain.relaxation.");
  RelaxationSpec relaxation;
  bool enabled = false;
  FATHOM_TRY(reader.boolean("enable", enabled));
  if (!enabled) return std::optional<RelaxationSpec>();
  FATHOM_TRY(reader.word("method", relaxation.method));
  reader.ignore({"skip_first_loop", "lora", "prompt"});  // the first: nothing reads it
  FATHOM_TRY(reader.finish());
  if (relaxation.method == RelaxationMethod::kLora || relaxation.method == RelaxationMethod::kDora)
    FATHOM_TRY(read_case_lora(reader.raw("lora"), relaxation));
  if (relaxation.method == RelaxationMethod::kAdaptionPrompt) {
    const nlohmann::json& prompt = reader.raw("prompt");
    if (!prompt.is_object()) return invalid("plain.relaxation.prompt: expected an object");
    FieldReader length(prompt, "plain.relaxation.prompt.");
    FATHOM_TRY(length.integer("len", relaxation.prompt_length));
    FATHOM_TRY(length.finish());
  }
  return std::optional<RelaxationSpec>(relaxation);
}

}  // namespace fathom
