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
    out["svd_init"] = word_of(relaxation.svd_init);
  }
  if (relaxation.method == RelaxationMethod::kAdaptionPrompt) out["prompt_length"] = relaxation.prompt_length;
  return out;
}

namespace {

// {"r", "alpha", ...}; alpha is overwritten by alpha_pattern times the rank.
Status read_case_lora(const nlohmann::json& object, RelaxationSpec& relaxation) {
  if (!object.is_object()) return invalid("plain.relaxation.lora: expected an object");
  FieldReader reader(object, "plain.relaxation.lora.");
  double pattern = 2;
  bool svd_init = false;
  FATHOM_TRY(reader.integer("r", relaxation.rank, Presence::kRequired));
  FATHOM_TRY(reader.number("alpha_pattern", pattern));
  FATHOM_TRY(reader.number("dropout", relaxation.dropout));
  FATHOM_TRY(reader.words("target_modules", relaxation.targets));
  FATHOM_TRY(reader.boolean("svd_init", svd_init));
  FATHOM_TRY(reader.only("rank_pattern", nullptr));
  reader.ignore({"alpha"});
  relaxation.alpha = pattern * static_cast<double>(relaxation.rank);
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
