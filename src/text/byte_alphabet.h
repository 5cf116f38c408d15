// The byte-level alphabet (GPT-2): every byte is written as one printable character, so that a vocabulary is
// text. Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the other 68, in increasing order, are
// U+0100, U+0101, ... (space becomes U+0120, newline U+010A).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::text {

char32_t character_of_byte(uint8_t byte);
std::optional<uint8_t> byte_of_character(char32_t character);

// The bytes, each written as its character in UTF-8.
std::string to_byte_characters(std::string_view bytes);

// The inverse; nothing if a character is not of the alphabet.
std::optional<std::string> from_byte_characters(std::string_view characters);

}  // namespace fathom::text
