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
      return text[i] == quote ? i + 1 : i;
    } else if (lines && text.substr(i, 3) == three) {
      const size_t end = text.find_first_not_of(quote, i);  // quotes may precede the closing three
      return end == std::string_view::npos ? text.size() : end;
    }
  }
  return text.size();
}

// Reads as much of the grammar as tells strings, keys and values apart, and refuses what must not reach the
// library. Its tables and arrays free themselves by recursion, and what it reads as parts of keys or of plain
// values is taken for ASCII: other characters there are undefined behaviour. Where a text is wrong in other
// ways, the library says so, at a place up to which both read alike.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<std::string> refusal() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const std::string reason = c == '"' || c == '\'' ? string() : c == '#' ? comment() : other(c);
      if (!reason.empty()) return "line " + std::to_string(line_) + ": " + reason;
    }
    return std::nullopt;
  }

 private:
  enum class Next { kKey, kValue, kEnd };  // kEnd: of what a value stands in
  static constexpr const char* kOutsideAscii =
      "a character outside ASCII, which is legal in strings and comments only";
  static constexpr std::string_view kEndsValue = " \t\n\v\f\r,]}#";

  std::string string() {
    if (next_ == Next::kEnd ||
        (at_ > 0 && std::string_view(" \t\r\n=,.[{").find(text_[at_ - 1]) == std::string_view::npos)) {
      return "a string begins where none can";
    }
    if (next_ == Next::kValue) next_ = Next::kEnd;
    const size_t end = after_string(text_, at_);
    for (; at_ < end; ++at_) line_ += text_[at_] == '\n';
    return {};
  }

  std::string comment() {
    at_ = std::min(text_.find('\n', at_), text_.size());
    return {};
  }

  std::string other(char c) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      return kOutsideAscii;
    }
    if (c == '[' || c == '{') return open(c);
    if (c == ']' || c == '}') return close(c);
    if (kEndsValue.find(c) == std::string_view::npos && c != '=' && next_ != Next::kKey)
      return plain_value(c);
    if (c == '=') {
      if (next_ != Next::kKey) return "'=' behind a value";
      next_ = Next::kValue;
    }
    if (c == ',') next_ = top() == '[' ? Next::kValue : Next::kKey;
    if (c == '\n' && open_.empty()) next_ = Next::kKey;
    // A dot joins the parts of a key; what ends a key begins to count again.
    if (c == '.') ++parts_;
    if (c == '\n' || c == '=' || c == ',') parts_ = 1;
    if (parts_ > TomlLimits::kKeyParts) {
      return "a key of more parts than the limit of " + std::to_string(TomlLimits::kKeyParts);
    }
    line_ += c == '\n';
    ++at_;
    return {};
  }

  // A number, a date, a word. A time may follow its date.
  std::string plain_value(char first) {
    if (next_ == Next::kEnd && (first < '0' || first > '9')) return "something behind a value";
    const size_t end = std::min(text_.find_first_of(kEndsValue, at_), text_.size());
    const std::string_view value = text_.substr(at_, end - at_);
    for (const char c : value) {
      if (static_cast<unsigned char>(c) >= 0x80) return kOutsideAscii;
      if (std::string_view("\"'=[{").find(c) != std::string_view::npos)
        return "a value that goes on as none can";
    }
    next_ = Next::kEnd;
    at_ = end;
    return {};
  }

  std::string open(char c) {
    const bool header = c == '[' && next_ == Next::kKey && (open_.empty() || top() == kHeader);
    if (!header && next_ != Next::kValue) return std::string("'") + c + "' where no value is expected";
    open_.push_back(header ? kHeader : c);
    if (static_cast<int>(open_.size()) > TomlLimits::kBrackets) {
      return "nested deeper than the limit of " + std::to_string(TomlLimits::kBrackets);
    }
    if (c == '{') next_ = Next::kKey;
    parts_ = 1;
    ++at_;
    return {};
  }

  std::string close(char c) {
    const char opened = top();
    if (c == '}' ? opened != '{' : opened != '[' && opened != kHeader) {
      return std::string("'") + c + "' that closes nothing";
    }
    open_.pop_back();
    if (opened != kHeader || open_.empty()) next_ = Next::kEnd;
    ++at_;
    return {};
  }

  char top() const { return open_.empty() ? '\0' : open_.back(); }

  static constexpr char kHeader = 'h';  // the '[' of a table's header

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1, parts_ = 1;
  Next next_ = Next::kKey;
  std::string open_;  // brackets
};

}  // namespace

Result<toml::table> parse_toml(std::string_view text) {
  if (text.size() > TomlLimits::kBytes) {
    return invalid("TOML of " + std::to_string(text.size()) + " bytes exceeds the limit of " +
                   std::to_string(TomlLimits::kBytes));
  }
  if (const auto reason = Scanner(text).refusal()) return invalid(*reason);
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
