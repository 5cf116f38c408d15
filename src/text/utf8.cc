#include "text/utf8.h"

#include <cstring>

namespace fathom::text {

namespace {

struct Lead {
  uint8_t continuation;  // bytes that follow
  uint8_t low, high;     // range of the first of them (excludes overlong forms, surrogates, > U+10FFFF)
};

Lead lead_of(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

// Length of the longest ASCII prefix.
size_t ascii_prefix(std::string_view text) {
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
  }
  while (at < text.size() && static_cast<uint8_t>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

Utf8Unit next_unit(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return {Utf8Kind::kCharacter, 1, first};
  const Lead lead = lead_of(first);
  if (lead.continuation == 0) return {Utf8Kind::kInvalid, 1, 0};
  char32_t character = first & (0x3FU >> lead.continuation);
  for (uint8_t i = 1; i <= lead.continuation; ++i) {
    if (i >= text.size()) return {Utf8Kind::kIncomplete, i, 0};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {Utf8Kind::kInvalid, i, 0};
    character = (character << 6) | (byte & 0x3FU);
  }
  return {Utf8Kind::kCharacter, static_cast<uint8_t>(lead.continuation + 1), character};
}

bool is_valid_utf8(std::string_view text) {
  for (;;) {
    text.remove_prefix(ascii_prefix(text));
    if (text.empty()) return true;
    const Utf8Unit unit = next_unit(text);
    if (unit.kind != Utf8Kind::kCharacter) return false;
    text.remove_prefix(unit.size);
  }
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = next_unit(text);
    out += unit.kind == Utf8Kind::kCharacter ? text.substr(0, unit.size) : kReplacementCharacter;
    text.remove_prefix(unit.size);
  }
  return out;
}

void append_utf8(char32_t character, std::string& out) {
  const auto c = static_cast<uint32_t>(character);
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

}  // namespace fathom::text
