#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace fathom::text {

namespace {

constexpr char32_t kFirstShifted = 0x100;
constexpr size_t kShiftedCount = 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Tables {
  std::array<char32_t, 256> character{};
  std::array<uint8_t, kShiftedCount> shifted{};  // byte of U+0100 + i
};

constexpr Tables make_tables() {
  Tables tables;
  size_t shifted = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) {
      tables.character[byte] = byte;
    } else {
      tables.character[byte] = kFirstShifted + shifted;
      tables.shifted[shifted++] = static_cast<uint8_t>(byte);
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

char32_t character_of_byte(uint8_t byte) { return kTables.character[byte]; }

std::optional<uint8_t> byte_of_character(char32_t character) {
  if (character < 0x100) {
    if (!stands_for_itself(character)) return std::nullopt;
    return static_cast<uint8_t>(character);
  }
  if (character >= kFirstShifted + kShiftedCount) return std::nullopt;
  return kTables.shifted[character - kFirstShifted];
}

std::string to_byte_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 2);
  for (char byte : bytes) append_utf8(character_of_byte(static_cast<uint8_t>(byte)), out);
  return out;
}

std::optional<std::string> from_byte_characters(std::string_view characters) {
  std::string out;
  out.reserve(characters.size());
  while (!characters.empty()) {
    const Utf8Unit unit = next_unit(characters);
    if (unit.kind != Utf8Kind::kCharacter) return std::nullopt;
    const auto byte = byte_of_character(unit.character);
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
    characters.remove_prefix(unit.size);
  }
  return out;
}

}  // namespace fathom::text
