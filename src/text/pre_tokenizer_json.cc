#include <map>

#include "text/component_json.h"
#include "text/pattern_dialect.h"
#include "text/utf8.h"

namespace fathom::text {

namespace {

using Steps = std::vector<PreTokenizerStep>;

Result<SplitBehavior> read_behavior(JsonFields& fields, std::optional<std::string> fallback) {
  static const std::map<std::string, SplitBehavior> kBehaviors = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  FATHOM_ASSIGN(const std::string name, fields.text("behavior", std::move(fallback)));
  const auto found = kBehaviors.find(name);
  if (found == kBehaviors.end()) {
    return not_supported(
        fields.path("behavior") + " is \"" + name +
        "\"; supported are Removed, Isolated, MergedWithPrevious, MergedWithNext and Contiguous");
  }
  return found->second;
}

SplitStep split_by(Regex pattern, SplitBehavior behavior, bool invert = false) {
  return {SplitPattern(std::move(pattern)), behavior, invert};
}

Status add_split(JsonFields& fields, Steps& steps) {
  FATHOM_ASSIGN(Regex pattern, read_pattern(fields, "pattern"));
  FATHOM_ASSIGN(const SplitBehavior behavior, read_behavior(fields, std::nullopt));
  FATHOM_ASSIGN(const bool invert, fields.boolean("invert", false));
  steps.emplace_back(split_by(std::move(pattern), behavior, invert));
  return {};
}

Status add_byte_level(JsonFields& fields, Steps& steps) {
  FATHOM_ASSIGN(const bool prefix, fields.boolean("add_prefix_space", true));
  FATHOM_ASSIGN(const bool use_regex, fields.boolean("use_regex", true));
  FATHOM_TRY(fields.boolean("trim_offsets", true));  // concerns offsets only
  if (prefix) steps.emplace_back(PrefixStep{" "});
  if (use_regex) {
    FATHOM_ASSIGN(Regex pattern, Regex::compile(kGpt2Pattern));
    steps.emplace_back(split_by(std::move(pattern), SplitBehavior::kIsolated));
  }
  steps.emplace_back(ByteMapStep{});
  return {};
}

Status add_digits(JsonFields& fields, Steps& steps) {
  FATHOM_ASSIGN(const bool individual, fields.boolean("individual_digits", false));
  FATHOM_ASSIGN(Regex pattern, Regex::compile(R"(\p{N})"));
  steps.emplace_back(
      split_by(std::move(pattern), individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous));
  return {};
}

Status add_punctuation(JsonFields& fields, Steps& steps) {
  FATHOM_ASSIGN(const SplitBehavior behavior, read_behavior(fields, "Isolated"));
  FATHOM_ASSIGN(Regex pattern, Regex::compile(R"([!-/:-@\[-`{-~\p{P}])"));
  steps.emplace_back(split_by(std::move(pattern), behavior));
  return {};
}

// Word characters, or what is neither word nor white space: these are the pieces.
Status add_whitespace(Steps& steps) {
  const std::string word(kWordClass);
  FATHOM_ASSIGN(Regex pattern,
                Regex::compile("[" + word + "]+|[^" + word + std::string(kWhiteSpaceClass) + "]+"));
  steps.emplace_back(split_by(std::move(pattern), SplitBehavior::kRemoved, true));
  return {};
}

Status add_whitespace_split(Steps& steps) {
  FATHOM_ASSIGN(Regex pattern, Regex::compile(R"(\s)"));
  steps.emplace_back(split_by(std::move(pattern), SplitBehavior::kRemoved));
  return {};
}

Status add_metaspace(JsonFields& fields, Steps& steps) {
  FATHOM_ASSIGN(const std::string replacement, read_space_character(fields));
  FATHOM_ASSIGN(const std::string scheme, read_prepend_scheme(fields));
  FATHOM_ASSIGN(const bool split, fields.boolean("split", true));
  steps.emplace_back(ReplaceStep{" ", replacement});
  if (scheme != "never") steps.emplace_back(PrefixStep{replacement, scheme == "first"});
  if (!split) return {};
  FATHOM_ASSIGN(Regex pattern, Regex::literal(replacement));
  steps.emplace_back(split_by(std::move(pattern), SplitBehavior::kMergedWithNext));
  return {};
}

Status add_steps(const Json& json, const std::string& where, int depth, Steps& steps);

Status add_sequence(JsonFields& fields, int depth, Steps& steps) {
  FATHOM_ASSIGN(const Json* list, fields.need("pretokenizers"));
  const std::string where = fields.path("pretokenizers");
  if (!list->is_array()) return invalid(where + " is " + kind_of(*list) + ", expected an array");
  if (depth == kMaxNesting)
    return invalid(where + " is nested more than " + std::to_string(kMaxNesting) + " deep");
  for (size_t i = 0; i < list->size(); ++i) {
    FATHOM_TRY(add_steps((*list)[i], where + "[" + std::to_string(i) + "]", depth + 1, steps));
  }
  return {};
}

Status add_steps(const Json& json, const std::string& where, int depth, Steps& steps) {
  FATHOM_ASSIGN(JsonFields fields, JsonFields::of(json, where));
  FATHOM_ASSIGN(const std::string type, fields.text("type", std::nullopt));
  Status status;
  if (type == "Sequence") {
    status = add_sequence(fields, depth, steps);
  } else if (type == "Split") {
    status = add_split(fields, steps);
  } else if (type == "ByteLevel") {
    status = add_byte_level(fields, steps);
  } else if (type == "Digits") {
    status = add_digits(fields, steps);
  } else if (type == "Punctuation") {
    status = add_punctuation(fields, steps);
  } else if (type == "Whitespace") {
    status = add_whitespace(steps);
  } else if (type == "WhitespaceSplit") {
    status = add_whitespace_split(steps);
  } else if (type == "Metaspace") {
    status = add_metaspace(fields, steps);
  } else {
    return unknown_type(
        fields, type,
        "Sequence, Split, ByteLevel, Digits, Punctuation, Whitespace, WhitespaceSplit and Metaspace");
  }
  if (!status.ok()) return status;
  FATHOM_TRY(check_steps(steps.size(), where));
  return fields.finish();
}

// A second one would map, or mark, what the first has made, and no decoder undoes that.
Status check_once(const Steps& steps, const std::string& where) {
  int maps = 0, marks = 0;
  for (const PreTokenizerStep& step : steps) {
    maps += std::holds_alternative<ByteMapStep>(step);
    marks += std::holds_alternative<ReplaceStep>(step);
  }
  if (maps <= 1 && marks <= 1) return {};
  return invalid(where + " has more than one " + (maps > 1 ? "ByteLevel" : "Metaspace"));
}

}  // namespace

Result<std::string> read_space_character(JsonFields& fields) {
  FATHOM_ASSIGN(std::string text, fields.text("replacement", "\xE2\x96\x81"));
  if (!text.empty() && next_unit(text).size == text.size()) return text;
  return invalid(fields.path("replacement") + " is \"" + text + "\", expected one character");
}

Result<std::string> read_prepend_scheme(JsonFields& fields) {
  FATHOM_ASSIGN(const bool ever, fields.boolean("add_prefix_space", true));
  FATHOM_TRY(fields.text("str_rep", ""));  // of older files: the replacement again
  FATHOM_ASSIGN(std::string scheme, fields.text("prepend_scheme", "always"));
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return not_supported(fields.path("prepend_scheme") + " is \"" + scheme +
                         "\"; supported are always, first and never");
  }
  return ever ? std::move(scheme) : std::string("never");
}

Result<PreTokenizer> read_pre_tokenizer(const Json& json, const std::string& where) {
  Steps steps;
  FATHOM_TRY(add_steps(json, where, 0, steps));
  FATHOM_TRY(check_once(steps, where));
  return PreTokenizer(std::move(steps));
}

}  // namespace fathom::text
