#include "text/jinja_text.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace fathom::text {

namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kBos = "bos_token";

std::string_view without_space_before(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}
std::string_view without_space_behind(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Statements that another one ends.
bool opens_block(std::string_view word) {
  constexpr std::array<std::string_view, 8> kOpening = {"for",  "if",     "macro",      "call",
                                                        "with", "filter", "generation", "block"};
  return std::ranges::find(kOpening, word) != kOpening.end();
}

class Reader {
 public:
  explicit Reader(std::string_view jinja) : rest_(jinja) {
    // Jinja leaves out the line break at the end.
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);
  }

  JinjaText read() {
    while (!rest_.empty()) {
      read_text();
      if (!rest_.empty()) read_tag();
    }
    return std::move(found_);
  }

 private:
  // What the tag that was read last takes from the text behind it.
  enum class Trim : uint8_t { kNothing, kLineBreak, kSpace };

  void read_text() {
    size_t end = 0;
    for (; end < rest_.size(); ++end) {
      const std::string_view at = rest_.substr(end);
      if (at.starts_with("{{") || at.starts_with("{%") || at.starts_with("{#")) break;
    }
    std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    const size_t trimmed = trim_ == Trim::kSpace       ? text.size() - without_space_before(text).size()
                           : trim_ == Trim::kLineBreak ? size_t{text.starts_with('\n')}
                                                       : 0;
    if (trimmed > 0) line_starts_ = text[trimmed - 1] == '\n';
    text.remove_prefix(trimmed);
    const char sign = rest_.size() > 2 ? rest_[2] : '\0';
    if (sign == '-') {
      text = without_space_behind(text);
    } else if (!rest_.empty() && rest_[1] != '{' && sign != '+') {
      // Blanks between the start of a line and a block.
      const size_t line = text.find_last_not_of(" \t") + 1;
      if (line == 0 ? line_starts_ : text[line - 1] == '\n') text = text.substr(0, line);
    }
    line_starts_ = false;
    if (text.empty()) return;
    found_.pieces.emplace_back(text);
    written_ = true;
  }

  void read_tag() {
    const char kind = rest_[1];
    rest_.remove_prefix(2);
    if (!rest_.empty() && (rest_[0] == '-' || rest_[0] == '+')) rest_.remove_prefix(1);
    const std::string_view content = kind == '#' ? take_comment() : take_expression(kind == '{' ? '}' : '%');
    // Here `content` has the dash of the end, and `rest_` is behind the tag.
    const bool dash = content.ends_with('-');
    trim_ = dash ? Trim::kSpace : kind == '{' ? Trim::kNothing : Trim::kLineBreak;
    if (kind == '{') written_ = true;
    if (kind == '%') note_block(without_space_before(content));
  }

  std::string_view take_comment() {
    const size_t end = std::min(rest_.find("#}"), rest_.size());
    const std::string_view content = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 2, rest_.size()));
    return content;
  }

  // Up to `close` and a brace; braces inside, and all in strings, belong to the expression.
  std::string_view take_expression(char close) {
    const bool output = close == '}';
    const std::string_view all = rest_;
    int braces = 0;
    size_t at = 0;
    for (bool first = true; at < all.size();) {
      const char c = all[at];
      if (c == '\'' || c == '"') {
        at = take_string(all, at);
      } else if (is_word_character(c)) {
        const size_t begin = at;
        while (at < all.size() && is_word_character(all[at])) ++at;
        if (all.substr(begin, at - begin) == kBos) note_bos(output && first, all.substr(at));
      } else {
        if (braces == 0 && c == close && all.substr(at + 1).starts_with('}')) break;
        braces += c == '{' ? 1 : c == '}' && braces > 0 ? -1 : 0;
        ++at;
      }
      if (kBlanks.find(c) == std::string_view::npos) first = false;
    }
    rest_ = all.substr(std::min(at + 2, all.size()));
    return all.substr(0, at);
  }

  // Adds the string that begins at `at`; where the text goes on behind it.
  size_t take_string(std::string_view all, size_t at) {
    const char quote = all[at++];
    std::string text;
    for (; at < all.size() && all[at] != quote; ++at) {
      if (all[at] != '\\' || at + 1 == all.size()) {
        text += all[at];
        continue;
      }
      const char escaped = all[++at];
      text += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
    }
    if (!text.empty()) found_.pieces.push_back(std::move(text));
    return std::min(at + 1, all.size());
  }

  // `first`: the variable stands at the start of an output, followed by `behind`.
  void note_bos(bool first, std::string_view behind) {
    behind = without_space_before(behind);
    const bool alone = behind.starts_with("}}") || behind.starts_with("-}}") || behind.starts_with('+') ||
                       behind.starts_with('~');
    const bool begins = first && alone && !written_ && blocks_ == 0;
    (begins ? found_.begins_with_bos : found_.names_bos_elsewhere) = true;
  }

  void note_block(std::string_view statement) {
    size_t length = 0;
    while (length < statement.size() && is_word_character(statement[length])) ++length;
    const std::string_view word = statement.substr(0, length);
    if (opens_block(word)) ++blocks_;
    if (word.starts_with("end") && opens_block(word.substr(3))) --blocks_;
  }

  std::string_view rest_;
  Trim trim_ = Trim::kNothing;
  bool line_starts_ = true;  // nothing of the line stands before the text to come
  bool written_ = false;
  int64_t blocks_ = 0;  // that are open
  JinjaText found_;
};

}  // namespace

JinjaText read_jinja_text(std::string_view jinja) { return Reader(jinja).read(); }

}  // namespace fathom::text
