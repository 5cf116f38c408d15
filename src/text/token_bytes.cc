#include "text/token_bytes.h"

#include <charconv>
#include <optional>

#include "text/byte_alphabet.h"
#include "text/find_text.h"

namespace fathom::text {

namespace {

// The byte of "<0xNN>".
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

std::string replaced(std::string_view text, const std::string& from, const std::string& to) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = find_text(text, from, done)) != std::string_view::npos; done = at + from.size()) {
    (out += text.substr(done, at - done)) += to;
  }
  return out += text.substr(done);
}

}  // namespace

void TokenBytes::add(std::string_view token) {
  std::string text(token);
  for (const auto& [from, to] : spec_.replacements) text = replaced(text, from, to);
  const std::optional<char> byte = spec_.byte_fallback ? fallback_byte(text) : std::nullopt;
  if (byte) {
    text.assign(1, *byte);
  } else if (spec_.byte_level) {
    if (auto bytes = from_byte_characters(text)) text = *std::move(bytes);
  }
  bytes_ += text;
  starts_.push_back(bytes_.size());
}

}  // namespace fathom::text
