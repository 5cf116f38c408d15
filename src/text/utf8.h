// UTF-8, one unit at a time. Invalid input follows the "maximal subpart" practice of the Unicode standard
// (section 3.9, U+FFFD substitution), which is what Rust's String::from_utf8_lossy and therefore the
// `tokenizers` library do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Kind : uint8_t {
  kCharacter,  // a complete, valid character
  kInvalid,    // bytes that no continuation can make valid
  kIncomplete  // the text ends inside what may become a character
};

struct Utf8Unit {
  Utf8Kind kind = Utf8Kind::kCharacter;
  uint8_t size = 0;        // bytes it takes, at least 1
  char32_t character = 0;  // of a kCharacter only
};

// The unit at the start of `text`, which must not be empty.
Utf8Unit next_unit(std::string_view text);

bool is_valid_utf8(std::string_view text);

// The text with every invalid or incomplete subpart replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

void append_utf8(char32_t character, std::string& out);

}  // namespace fathom::text
