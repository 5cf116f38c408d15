#include "cli/stop_strings.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

// What comes out of pieces, one after the other.
struct Output {
  std::vector<std::string> ready;  // of each piece until the end
  std::string text;                // all of it, with what was held back to the end
  bool stopped = false;
};

Output output_of(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings strings(stops);
  Output output;
  for (const std::string& piece : pieces) {
    output.ready.push_back(strings.push(piece));
    output.text += output.ready.back();
    if (strings.stopped()) break;
  }
  output.stopped = strings.stopped();
  if (!output.stopped) output.text += strings.finish();
  EXPECT_EQ(strings.finish(), "") << "what comes at the end comes once";
  return output;
}

using Pieces = std::vector<std::string>;

TEST(StopStrings, OneInsideAPieceEndsTheTextBeforeIt) {
  const Output output = output_of({"END"}, {"some ", "text END and more", "never"});
  EXPECT_EQ(output.ready, (Pieces{"some ", "text "}));
  EXPECT_TRUE(output.stopped);
  EXPECT_EQ(output_of({"END"}, {"END"}).text, "");
  EXPECT_TRUE(output_of({"END"}, {"END"}).stopped);
}

TEST(StopStrings, OneInPiecesIsHeldBackUntilItIsWhole) {
  const Output output = output_of({"END"}, {"a", "bE", "N", "D"});
  EXPECT_EQ(output.ready, (Pieces{"a", "b", "", ""}));
  EXPECT_TRUE(output.stopped);
}

TEST(StopStrings, WhatWasHeldBackComesWhenItIsNone) {
  const Output output = output_of({"END"}, {"bEN", "d", "E", "EN", "x"});
  EXPECT_EQ(output.ready, (Pieces{"b", "ENd", "", "E", "ENx"}));
  EXPECT_FALSE(output.stopped);
}

TEST(StopStrings, WhatIsHeldBackAtTheEndBelongsToTheText) {
  const Output output = output_of({"END"}, {"the E", "N"});
  EXPECT_EQ(output.ready, (Pieces{"the ", ""}));
  EXPECT_EQ(output.text, "the EN");
  EXPECT_FALSE(output.stopped);
}

// The second beginning of "aab" in "aaab" is the one that becomes it.
TEST(StopStrings, OneThatBeginsLikeItselfIsFound) {
  const Output output = output_of({"aab"}, {"xa", "a", "a", "b"});
  EXPECT_EQ(output.ready, (Pieces{"x", "", "a", ""}));
  EXPECT_TRUE(output.stopped);
}

TEST(StopStrings, TheFirstOfSeveralEndsTheText) {
  for (const Pieces& stops : {Pieces{"two", "one"}, Pieces{"one", "two"}}) {
    const Output output = output_of(stops, {"before one and two"});
    EXPECT_EQ(output.text, "before ");
    EXPECT_TRUE(output.stopped);
  }
}

TEST(StopStrings, WithoutAnyTextIsAsItCame) {
  const Output output = output_of({}, {"a", "", "b"});
  EXPECT_EQ(output.ready, (Pieces{"a", "", "b"}));
  EXPECT_FALSE(output.stopped);
}

// Every way to cut a text into pieces gives what its characters give one by one.
TEST(StopStrings, PiecesChangeNothing) {
  const struct {
    Pieces stops;
    std::string text, before;
    bool stopped;
  } cases[] = {{{"abcd", "bc"}, "xabcdy", "xa", true},       {{"abc", "bc"}, "xabcy", "x", true},
               {{"abab"}, "xabaabab", "xaba", true},         {{"abx", "ba"}, "aabba", "aab", true},
               {{"abcx", "cdx"}, "abcdab", "abcdab", false}, {{"b", "ab"}, "aab", "a", true}};
  for (const auto& [stops, text, before, stopped] : cases) {
    for (unsigned cuts = 0; cuts < 1U << (text.size() - 1); ++cuts) {
      Pieces pieces = {""};
      for (size_t i = 0; i < text.size(); ++i) {
        if (i > 0 && (cuts >> (i - 1) & 1U) != 0) pieces.emplace_back();
        pieces.back() += text[i];
      }
      const Output output = output_of(stops, pieces);
      EXPECT_EQ(output.text, before) << text << " in pieces " << ::testing::PrintToString(pieces);
      EXPECT_EQ(output.stopped, stopped) << text << " in pieces " << ::testing::PrintToString(pieces);
    }
  }
}

}  // namespace
}  // namespace fathom::cli
