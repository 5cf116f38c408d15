// Texts made of a row's fields: "Question: {goal}\nAnswer:". Between braces stands a path (fields and indices
// with dots between: "choices.0"), and after a bar the rule its text goes through:
//   strip               without white space at both ends
//   capitalize          as Python's str.capitalize()
//   spaces              "_" becomes a space
//   before_last_word, last_word      cut at the last space
//   before_blank, after_blank        cut at the first "_"; the part after it is stripped
//   boxed               what the last \boxed{...} holds
//   digits              may be a whole number instead of a string, which is written in digits
// Braces with nothing between them stand for themselves.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::eval {

// The value at a path. Errors say what is missing: no field "goal", only label, sol1.
Result<const nlohmann::json*> value_at(const nlohmann::json& row, std::string_view path);
Result<std::string> string_at(const nlohmann::json& row, std::string_view path);
// A list of 1 to kMostTexts strings.
inline constexpr size_t kMostTexts = 64;
Result<std::vector<std::string>> strings_at(const nlohmann::json& row, std::string_view path);

// The template is the program's own: a malformed one is a FATHOM_CHECK.
Result<std::string> fill(std::string_view text_template, const nlohmann::json& row);

}  // namespace fathom::eval
