#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/byte_alphabet.h"

namespace fathom::text {
namespace {

TEST(Utf8, EveryScalarValueSurvivesARoundTrip) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(c, text);
    const Utf8Unit unit = next_unit(text);
    ASSERT_EQ(unit.kind, Utf8Kind::kCharacter) << static_cast<uint32_t>(c);
    ASSERT_EQ(unit.character, c);
    ASSERT_EQ(unit.size, text.size());
    ASSERT_TRUE(is_valid_utf8(text));
    // Every proper prefix may still become a character.
    for (size_t size = 1; size < text.size(); ++size) {
      ASSERT_EQ(next_unit(text.substr(0, size)).kind, Utf8Kind::kIncomplete);
    }
  }
}

TEST(Utf8, InvalidSubpartsBecomeOneReplacementEach) {
  const std::string r(kReplacementCharacter);
  const struct {
    std::string bytes, expected;
  } cases[] = {
      {"a\x80z", "a" + r + "z"},                         // a continuation alone
      {"\xC0\xAF", r + r},                               // overlong
      {"\xE0\x80\x80", r + r + r},                       // overlong
      {"\xED\xA0\x80", r + r + r},                       // surrogate
      {"\xF4\x90\x80\x80", r + r + r + r},               // past U+10FFFF
      {"\xE2\x82", r},                                   // unfinished at the end
      {"\xE2\x82x", r + "x"},                            // unfinished before a letter
      {"\xF0\x9F\x98\xE2\x82\xAC", r + "\xE2\x82\xAC"},  // unfinished before a character
      {"\xFF\xFE", r + r},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(replace_invalid_utf8(c.bytes), c.expected);
    EXPECT_FALSE(is_valid_utf8(c.bytes));
    EXPECT_FALSE(is_valid_utf8("eight ascii letters and " + c.bytes));
    EXPECT_TRUE(is_valid_utf8(c.expected));
  }
}

TEST(ByteAlphabet, MapsBytesToPrintableCharactersAndBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string characters = to_byte_characters(all);
  EXPECT_EQ(from_byte_characters(characters), all);
  EXPECT_EQ(characters.find(' '), std::string::npos);
  EXPECT_EQ(to_byte_characters(" \n"), "\xC4\xA0\xC4\x8A");  // U+0120, U+010A
  EXPECT_EQ(to_byte_characters("Az~"), "Az~");
  EXPECT_FALSE(from_byte_characters("a b"));
  EXPECT_FALSE(from_byte_characters("\xC5\x84"));  // U+0144, one past the last
}

}  // namespace
}  // namespace fathom::text
