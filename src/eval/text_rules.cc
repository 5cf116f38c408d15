#include "eval/text_rules.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom::eval {

namespace {

// Python's str.isspace(): white space as Unicode has it, and four separators of ASCII.
bool is_python_space(char32_t character) {
  return text::is_white_space(character) || (character >= 0x1C && character <= 0x1F);
}

bool is_space(const text::Utf8Unit& unit) {
  return unit.kind == text::Utf8Kind::kCharacter && is_python_space(unit.character);
}

// Calls visit(begin, unit) for each unit of the text.
template <class Visit>
void for_each_unit(std::string_view text, const Visit& visit) {
  for (size_t at = 0; at < text.size();) {
    const text::Utf8Unit unit = text::next_unit(text.substr(at));
    visit(at, unit);
    at += unit.size;
  }
}

}  // namespace

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for_each_unit(text, [&](size_t, const text::Utf8Unit&) { ++count; });
  return count;
}

int64_t count_words(std::string_view text) {
  int64_t runs = 0;
  bool in_run = false;
  for_each_unit(text, [&](size_t, const text::Utf8Unit& unit) {
    const bool space = is_space(unit);
    runs += space && !in_run ? 1 : 0;
    in_run = space;
  });
  return runs + 1;
}

size_t white_space_at_end(std::string_view text) {
  size_t end = 0;  // of what is no white space
  for_each_unit(text, [&](size_t at, const text::Utf8Unit& unit) {
    if (!is_space(unit)) end = at + unit.size;
  });
  return text.size() - end;
}

std::string_view stripped(std::string_view text) {
  text.remove_suffix(white_space_at_end(text));
  while (!text.empty()) {
    const text::Utf8Unit unit = text::next_unit(text);
    if (!is_space(unit)) break;
    text.remove_prefix(unit.size);
  }
  return text;
}

std::string capitalized(std::string_view text) {
  std::string out;
  for_each_unit(text, [&](size_t at, const text::Utf8Unit& unit) {
    if (unit.kind != text::Utf8Kind::kCharacter) {
      out += text.substr(at, unit.size);
      return;
    }
    const auto character = static_cast<utf8proc_int32_t>(unit.character);
    const auto changed = at == 0 ? utf8proc_totitle(character) : utf8proc_tolower(character);
    text::append_utf8(static_cast<char32_t>(changed), out);
  });
  return out;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const size_t at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

std::string_view before_last_space(std::string_view text) {
  const size_t at = text.rfind(' ');
  return at == std::string_view::npos ? std::string_view() : text.substr(0, at);
}

std::string_view after_last_space(std::string_view text) {
  const size_t at = text.rfind(' ');
  return at == std::string_view::npos ? text : text.substr(at + 1);
}

std::string without_brackets(std::string_view text) {
  const std::string titled = replaced(stripped(text), " [title]", ". ");
  std::string out;
  for (size_t at = 0; at < titled.size();) {
    // A bracket ends on its own line, or is none.
    const size_t end = titled[at] == '[' ? titled.find_first_of("]\n", at) : std::string::npos;
    if (end != std::string::npos && titled[end] == ']') {
      at = end + 1;
    } else {
      out += titled[at++];
    }
  }
  return replaced(out, "  ", " ");
}

}  // namespace fathom::eval
