#include "base/sentence.h"

#include <algorithm>

namespace fathom {

namespace {

// The first bytes of UTF-8 text, at most `limit`, cut between two characters.
std::string_view head_of(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return text.substr(0, limit);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

}  // namespace

std::string one_line(std::string text) {
  constexpr size_t kLimit = 4000;
  if (text.size() > kLimit) {
    text.resize(head_of(text, kLimit).size());
    text += "...";
  }
  std::ranges::replace_if(text, is_control, '?');
  return text;
}

std::string in_quotes(std::string_view text, size_t limit) {
  const std::string_view head = head_of(text, limit);
  std::string out = "\"";
  out += head;
  out += head.size() < text.size() ? "...\"" : "\"";
  return one_line(std::move(out));
}

}  // namespace fathom
