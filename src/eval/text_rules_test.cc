// Strings as Python and lm-evaluation-harness's task files have them.
#include "eval/text_rules.h"

#include <gtest/gtest.h>

namespace fathom::eval {
namespace {

TEST(TextRules, CharactersAreCodePoints) {
  EXPECT_EQ(count_characters(""), 0);
  EXPECT_EQ(count_characters("a\u00e9\u4e2d\U0001F600"), 4);
}

TEST(TextRules, WordsAreThePiecesOfASplitAtWhiteSpace) {
  EXPECT_EQ(count_words(""), 1);
  EXPECT_EQ(count_words("one"), 1);
  EXPECT_EQ(count_words("one  two\nthree"), 3);
  EXPECT_EQ(count_words(" one two "), 4);  // an empty piece at each end
  EXPECT_EQ(count_words("a\u00a0b\x1c\u3000"
                        "c"),
            3);
}

TEST(TextRules, WhiteSpaceAtTheEnds) {
  EXPECT_EQ(stripped(" \t\u00a0 a b\n\x1f"), "a b");
  EXPECT_EQ(stripped(" \n"), "");
  EXPECT_EQ(white_space_at_end("a b"), 0U);
  EXPECT_EQ(white_space_at_end("a \u2003\n"), 5U);
  EXPECT_EQ(white_space_at_end(" "), 1U);
}

TEST(TextRules, CapitalizedIsTheFirstCharacterAlone) {
  EXPECT_EQ(capitalized(""), "");
  EXPECT_EQ(capitalized("he Goes HOME"), "He goes home");
  EXPECT_EQ(capitalized("\u00e9t\u00c9"), "\u00c9t\u00e9");
  EXPECT_EQ(capitalized(" he"), " he");
}

TEST(TextRules, TheLastWordFollowsTheLastSpace) {
  EXPECT_EQ(before_last_space("a b  c"), "a b ");
  EXPECT_EQ(after_last_space("a b  c"), "c");
  EXPECT_EQ(before_last_space("abc"), "");
  EXPECT_EQ(after_last_space("abc"), "abc");
  EXPECT_EQ(after_last_space("abc "), "");
}

TEST(TextRules, BracketsGoWithWhatIsInThem) {
  EXPECT_EQ(without_brackets("How to cook [header] Wash it. [title] Cut. [substeps] Fry. "),
            "How to cook Wash it.. Cut. Fry.");
  EXPECT_EQ(without_brackets("a [title] b"), "a. b");
  EXPECT_EQ(without_brackets("a [b\nc] d [e"), "a [b\nc] d [e");
  EXPECT_EQ(without_brackets("[a [b] c]"), " c]");
  EXPECT_EQ(without_brackets("a   b    c"), "a  b  c");  // once, from the left
}

}  // namespace
}  // namespace fathom::eval
