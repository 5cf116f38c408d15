// Sentences are one line of bounded length, and stay UTF-8, whatever they show.
#include "base/sentence.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace fathom {
namespace {

TEST(Sentence, IsOneLine) {
  EXPECT_EQ(one_line("a\nb\tc\x7f"
                     "d"),
            "a?b?c?d");
  EXPECT_EQ(invalid("x\r\ny").message, "x??y");
  EXPECT_EQ(not_supported("x\x1b[31m").message, "x?[31m");
}

TEST(Sentence, IsBoundedAndCutBetweenCharacters) {
  EXPECT_EQ(in_quotes("abc", 3), "\"abc\"");
  EXPECT_EQ(in_quotes("abcd", 3), "\"abc...\"");
  EXPECT_EQ(in_quotes("a\u00e9b", 2), "\"a...\"");
  EXPECT_EQ(in_quotes("a\u00e9b", 3), "\"a\u00e9...\"");
  EXPECT_EQ(in_quotes("\xbf\xbf\xbf", 2), "\"...\"");
  EXPECT_EQ(one_line(std::string(10'000, 'x')), std::string(4000, 'x') + "...");
}

}  // namespace
}  // namespace fathom
