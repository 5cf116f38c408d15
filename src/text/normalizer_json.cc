#include <map>

#include "text/component_json.h"

namespace fathom::text {

Error unknown_type(const JsonFields& fields, const std::string& type, const std::string& supported) {
  return not_supported(fields.path("type") + " is \"" + type + "\"; supported are " + supported);
}

Status check_steps(size_t steps, const std::string& where) {
  if (steps <= kMaxSteps) return {};
  return invalid(where + " is a step beyond the limit of " + std::to_string(kMaxSteps));
}

Result<Regex> read_pattern(JsonFields& fields, const std::string& key) {
  FATHOM_ASSIGN(const Json* json, fields.need(key));
  FATHOM_ASSIGN(JsonFields pattern, JsonFields::of(*json, fields.path(key)));
  const bool literal = pattern.find("String") != nullptr;
  FATHOM_ASSIGN(const std::string text, pattern.text(literal ? "String" : "Regex", std::nullopt));
  FATHOM_TRY(pattern.finish());
  if (text.empty()) return invalid(fields.path(key) + " is empty");
  Result<Regex> regex = literal ? Regex::literal(text) : Regex::compile(text);
  if (!regex.ok()) return at(fields.path(key), std::move(regex).error());
  return regex;
}

Result<std::string> read_replacement(JsonFields& fields, const std::string& key) {
  FATHOM_ASSIGN(std::string text, fields.text(key, std::nullopt));
  if (text.size() <= kMaxReplacement) return text;
  return invalid(fields.path(key) + " has " + std::to_string(text.size()) + " bytes, expected at most " +
                 std::to_string(kMaxReplacement));
}

namespace {

Status add_steps(const Json& json, const std::string& where, int depth, std::vector<NormalizerStep>& steps) {
  FATHOM_ASSIGN(JsonFields fields, JsonFields::of(json, where));
  FATHOM_ASSIGN(const std::string type, fields.text("type", std::nullopt));
  static const std::map<std::string, UnicodeForm> kForms = {{"NFC", UnicodeForm::kNfc},
                                                            {"NFD", UnicodeForm::kNfd},
                                                            {"NFKC", UnicodeForm::kNfkc},
                                                            {"NFKD", UnicodeForm::kNfkd}};
  if (const auto form = kForms.find(type); form != kForms.end()) {
    steps.emplace_back(form->second);
  } else if (type == "Lowercase") {
    steps.emplace_back(Lowercase{});
  } else if (type == "Replace") {
    FATHOM_ASSIGN(Regex pattern, read_pattern(fields, "pattern"));
    FATHOM_ASSIGN(std::string content, read_replacement(fields, "content"));
    steps.emplace_back(Replace{std::make_shared<const Regex>(std::move(pattern)), std::move(content)});
  } else if (type == "Prepend") {
    FATHOM_ASSIGN(std::string content, read_replacement(fields, "prepend"));
    steps.emplace_back(Prepend{std::move(content)});
  } else if (type == "Strip") {
    FATHOM_ASSIGN(const bool left, fields.boolean("strip_left", true));
    FATHOM_ASSIGN(const bool right, fields.boolean("strip_right", true));
    steps.emplace_back(StripSpace{left, right});
  } else if (type == "Sequence") {
    FATHOM_ASSIGN(const Json* list, fields.need("normalizers"));
    if (!list->is_array())
      return invalid(fields.path("normalizers") + " is " + kind_of(*list) + ", expected an array");
    if (depth == kMaxNesting)
      return invalid(where + " is nested more than " + std::to_string(kMaxNesting) + " deep");
    for (size_t i = 0; i < list->size(); ++i) {
      FATHOM_TRY(add_steps((*list)[i], fields.path("normalizers") + "[" + std::to_string(i) + "]", depth + 1,
                           steps));
    }
  } else {
    return unknown_type(fields, type,
                        "NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip and Sequence");
  }
  FATHOM_TRY(check_steps(steps.size(), where));
  return fields.finish();
}

}  // namespace

Result<Normalizer> read_normalizer(const Json& json, const std::string& where) {
  std::vector<NormalizerStep> steps;
  FATHOM_TRY(add_steps(json, where, 0, steps));
  return Normalizer(std::move(steps));
}

}  // namespace fathom::text
