#include "base/toml.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>

namespace fathom {

namespace {

// The place after a string that begins at `at`; the end of the line, or of the text, if it is never closed.
size_t after_string(std::string_view text, size_t at) {
  const char quote = text[at];
  const std::string three(3, quote);
  const bool lines = text.substr(at, 3) == three;
  for (size_t i = at + (lines ? 3 : 1); i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"') {
      ++i;
    } else if (!lines && (text[i] == quote || text[i] == '\n')) {
      return i + 1;
    } else if (lines && text.substr(i, 3) == three) {
      const size_t end = text.find_first_not_of(quote, i);  // quotes may precede the closing three
      return end == std::string_view::npos ? text.size() : end;
    }
  }
  return text.size();
}

// What must not reach the library, if anything is: its tables and arrays free themselves by recursion.
std::optional<std::string> refusal(std::string_view text) {
  int brackets = 0, parts = 1, line = 1;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const size_t end = after_string(text, i);
      for (; i < end; ++i) line += text[i] == '\n';
      continue;
    }
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
      continue;
    }
    const auto place = [line] { return "line " + std::to_string(line) + ": "; };
    // The library takes some of these, read as parts of a key, for impossible.
    if (static_cast<unsigned char>(c) >= 0x80) {
      return place() + "a character outside ASCII, which is legal in strings and comments only";
    }
    if (c == '[' || c == '{') ++brackets;
    if ((c == ']' || c == '}') && brackets > 0) --brackets;
    // A dot joins the parts of a key; what ends a key begins to count again.
    if (c == '.') ++parts;
    if (c == '\n' || c == '=' || c == ',' || c == '[' || c == '{') parts = 1;
    if (brackets > TomlLimits::kBrackets) {
      return place() + "nested deeper than the limit of " + std::to_string(TomlLimits::kBrackets);
    }
    if (parts > TomlLimits::kKeyParts) {
      return place() + "a key of more parts than the limit of " + std::to_string(TomlLimits::kKeyParts);
    }
    line += c == '\n';
    ++i;
  }
  return std::nullopt;
}

}  // namespace

Result<toml::table> parse_toml(std::string_view text) {
  if (text.size() > TomlLimits::kBytes) {
    return invalid("TOML of " + std::to_string(text.size()) + " bytes exceeds the limit of " +
                   std::to_string(TomlLimits::kBytes));
  }
  if (const auto reason = refusal(text)) return invalid(*reason);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return invalid("line " + std::to_string(error.source().begin.line) + ": " +
                   std::string(error.description()));
  }
}

std::string write_toml(const toml::table& table) {
  constexpr auto kQuotes =
      toml::format_flags::allow_literal_strings | toml::format_flags::allow_multi_line_strings;
  std::ostringstream text;
  text << toml::toml_formatter(table, toml::toml_formatter::default_flags & ~kQuotes) << "\n";
  return text.str();
}

}  // namespace fathom
