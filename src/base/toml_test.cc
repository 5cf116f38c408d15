// Strict TOML: the limits hold whatever strings and comments hide, and errors say the line.
#include "base/toml.h"

#include <gtest/gtest.h>

#include <string>

namespace fathom {
namespace {

std::string error_of(const std::string& text) {
  const auto table = parse_toml(text);
  return table.ok() ? "accepted" : table.error().message;
}

std::string dotted(int parts) {
  std::string key = "a";
  for (int i = 1; i < parts; ++i) key += ".a";
  return key;
}

TEST(Toml, DepthIsBoundedBeforeParsing) {
  EXPECT_EQ(error_of(dotted(16) + " = 1"), "accepted");
  EXPECT_EQ(error_of("x = 1\n" + dotted(17) + " = 1"), "line 2: a key of more parts than the limit of 16");
  EXPECT_EQ(error_of(dotted(100000)), "line 1: a key of more parts than the limit of 16");
  EXPECT_EQ(error_of("x = " + std::string(32, '[') + std::string(32, ']')), "accepted");
  EXPECT_EQ(error_of("x = " + std::string(100000, '[')), "line 1: nested deeper than the limit of 32");
}

TEST(Toml, StringsAndCommentsNestNothing) {
  const std::string dots(100, '.'), brackets(100, '[');
  EXPECT_EQ(error_of("x = \"" + dots + brackets + "\\\"" + dots + "\""), "accepted");
  EXPECT_EQ(error_of("x = '" + dots + brackets + "\\'"), "accepted");
  EXPECT_EQ(error_of("x = \"\"\"\n" + dots + "\"" + brackets + "\n\"\"\""), "accepted");
  EXPECT_EQ(error_of("x = 1 # " + dots + brackets + "\ny = 2"), "accepted");
  EXPECT_EQ(
      error_of("x = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]"),
      "accepted");
}

TEST(Toml, NothingHidesBehindAString) {
  const std::string deep = dotted(100) + " = 1";
  const std::string sentence = "a key of more parts than the limit of 16";
  for (const std::string text : {"\"\"\"a\"\"\"\"", "'''a'''''", "\"\"", "'a\\'", "\"\\\\\""}) {
    EXPECT_EQ(error_of("x = {y = " + text + ", " + deep + "}"), "line 1: " + sentence) << text;
  }
  EXPECT_EQ(error_of("x = \"never closed\n" + deep), "line 2: " + sentence);
  EXPECT_EQ(error_of("x = \"\"\"\n\n\"\"\"\n" + deep), "line 4: " + sentence);
}

TEST(Toml, KeysAreAscii) {
  const std::string sentence = "a character outside ASCII, which is legal in strings and comments only";
  EXPECT_EQ(error_of("x = 1048\u02ff6\nlayers  (ate = 1"), "line 1: " + sentence);
  EXPECT_EQ(error_of("x = 1\n\u00e9 = 2"), "line 2: " + sentence);
  EXPECT_EQ(error_of("\xef\xbb\xbfx = 1"), "line 1: " + sentence);
  EXPECT_EQ(error_of("\"\u00e9\" = '\u00e9' # \u00e9"), "accepted");
}

// Behind a backslash, and in what looks like a number, the library looks for white space.
TEST(Toml, EveryCharacterIsTakenForWhatItIs) {
  for (const std::string character :
       {"\u00a0", "\u00e9", "\u0450", "\u1690", "\u2070", "\u2d00", "\u3001", "\ufef0"}) {
    EXPECT_EQ(error_of("x = \"\"\"a\\\n  " + character + "\"\"\""), "accepted") << character;
    for (const std::string& text :
         {"x = \"\"\"\\" + character + "\"\"\"", "x = 0\"" + character + "\"", "x = 0{\"" + character + "\"}",
          "x = 0.a=\"" + character + "\"", "x = 1" + character, character + " = 1"}) {
      EXPECT_TRUE(error_of(text).starts_with("line 1: ")) << text << ": " << error_of(text);
    }
  }
}

TEST(Toml, WhatIsWrittenReadsBack) {
  for (const std::string text :
       {"\n\n", "\nx", "a\nb", "it's \"q\"\n\x27\x27\x27", "tab\t bell\a \u00e9", "\\", ""}) {
    toml::table table;
    table.insert("text", text);
    table.insert("inner", toml::table{{"number", 0.1}, {"list", toml::array{1e-300, -3}}});
    const auto again = parse_toml(write_toml(table));
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(*again, table) << write_toml(table);
  }
}

TEST(Toml, RefusesWithTheLine) {
  EXPECT_EQ(error_of("x = 1\nx = 2").substr(0, 8), "line 2: ");
  EXPECT_EQ(error_of("x = \"\xff\"").substr(0, 8), "line 1: ");
  EXPECT_EQ(error_of(std::string((1 << 20) + 1, '\n')), "TOML of 1048577 bytes exceeds the limit of 1048576");
}

}  // namespace
}  // namespace fathom
