#include "eval/row_template.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/json.h"
#include "eval/answers.h"
#include "eval/text_rules.h"

namespace fathom::eval {

namespace {

std::string quoted(std::string_view name) { return '"' + std::string(name) + '"'; }

Result<const nlohmann::json*> field_of(const nlohmann::json& object, std::string_view path,
                                       std::string_view name) {
  if (object.is_array()) {
    size_t index = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == name.data() + name.size();
    if (is_index && index < object.size()) return &object[index];
    return invalid("no " + quoted(path) + ", the list has " + std::to_string(object.size()) + " entries");
  }
  if (!object.is_object())
    return invalid("no " + quoted(path) + ", " + kind_of(object) + " stands in its place");
  const auto found = object.find(name);
  if (found != object.end()) return &*found;
  std::string names;
  for (const auto& [other, value] : object.items()) names += (names.empty() ? "" : ", ") + other;
  return invalid("no field " + quoted(path) + (names.empty() ? "" : ", only " + names));
}

Result<std::string> apply(std::string_view rule, std::string_view path, const std::string& text) {
  if (rule == "strip") return std::string(stripped(text));
  if (rule == "capitalize") return capitalized(text);
  if (rule == "spaces") return replaced(text, "_", " ");
  if (rule == "before_last_word") return std::string(before_last_space(text));
  if (rule == "last_word") return std::string(after_last_space(text));
  if (rule == "boxed") {
    std::optional<std::string> answer = last_boxed(text);
    if (!answer) return invalid(quoted(path) + " has no \\boxed{...}");
    return *std::move(answer);
  }
  FATHOM_CHECK(rule == "before_blank" || rule == "after_blank", "a rule named " + std::string(rule));
  const size_t blank = text.find('_');
  if (blank == std::string::npos) return invalid(quoted(path) + " has no \"_\"");
  return rule == "before_blank" ? text.substr(0, blank)
                                : std::string(stripped(std::string_view(text).substr(blank + 1)));
}

// A string, or a whole number as it is written.
Result<std::string> digits_at(const nlohmann::json& row, std::string_view path) {
  FATHOM_ASSIGN(const nlohmann::json* value, value_at(row, path));
  if (value->is_number_integer()) return value->dump();
  if (value->is_string()) return value->get<std::string>();
  return invalid(quoted(path) + " is " + kind_of(*value) + ", expected a string or a whole number");
}

}  // namespace

Result<const nlohmann::json*> value_at(const nlohmann::json& row, std::string_view path) {
  const nlohmann::json* value = &row;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    FATHOM_ASSIGN(value, field_of(*value, path, path.substr(begin, end - begin)));
    begin = end + 1;
  }
  return value;
}

Result<std::string> string_at(const nlohmann::json& row, std::string_view path) {
  FATHOM_ASSIGN(const nlohmann::json* value, value_at(row, path));
  if (!value->is_string()) return invalid(quoted(path) + " is " + kind_of(*value) + ", expected a string");
  return value->get<std::string>();
}

Result<std::vector<std::string>> strings_at(const nlohmann::json& row, std::string_view path) {
  FATHOM_ASSIGN(const nlohmann::json* list, value_at(row, path));
  if (!list->is_array())
    return invalid(quoted(path) + " is " + kind_of(*list) + ", expected a list of strings");
  if (list->empty() || list->size() > kMostTexts) {
    return invalid(quoted(path) + " has " + std::to_string(list->size()) + " entries, expected 1 to " +
                   std::to_string(kMostTexts));
  }
  std::vector<std::string> texts;
  for (const nlohmann::json& text : *list) {
    if (!text.is_string())
      return invalid(quoted(path) + " holds " + kind_of(text) + ", expected strings alone");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

Result<std::string> fill(std::string_view text_template, const nlohmann::json& row) {
  std::string out;
  for (;;) {
    const size_t open = text_template.find('{');
    out += text_template.substr(0, open);
    if (open == std::string_view::npos) return out;
    const size_t close = text_template.find('}', open);
    FATHOM_CHECK(close != std::string_view::npos, "a template without its closing brace");
    const std::string_view inside = text_template.substr(open + 1, close - open - 1);
    const size_t bar = inside.find('|');
    const std::string_view path = inside.substr(0, bar);
    const std::string_view rule = bar == std::string_view::npos ? "" : inside.substr(bar + 1);
    text_template.remove_prefix(close + 1);
    if (inside.empty()) {
      out += "{}";
      continue;
    }
    FATHOM_ASSIGN(std::string text, rule == "digits" ? digits_at(row, path) : string_at(row, path));
    if (!rule.empty() && rule != "digits") {
      FATHOM_ASSIGN(text, apply(rule, path, text));
    }
    out += text;
  }
}

}  // namespace fathom::eval
