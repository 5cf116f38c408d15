#include "engine/ngram_draft.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Tokens = std::vector<int32_t>;

Tokens guesses(Tokens tokens, int64_t most) {
  const auto before = static_cast<int64_t>(tokens.size());
  const int64_t count = append_ngram_draft(tokens, most);
  EXPECT_EQ(count, static_cast<int64_t>(tokens.size()) - before);
  return {tokens.begin() + before, tokens.end()};
}

TEST(NgramDraft, IsWhatFollowedTheSameTokensBefore) {
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 1, 2}, 3), (Tokens{3, 4, 5}));
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 1, 2}, 8), (Tokens{3, 4, 5, 1, 2, 3, 4, 5}));  // and around
  EXPECT_EQ(guesses({1, 2, 3, 4, 5, 1, 2}, 0), Tokens{});
}

TEST(NgramDraft, TakesTheLongestRunAndOfEqualOnesTheLatest) {
  EXPECT_EQ(guesses({7, 1, 2, 50, 1, 2, 60, 1, 2}, 1), Tokens{60});
  EXPECT_EQ(guesses({7, 1, 2, 50, 1, 2, 60, 7, 1, 2}, 1), Tokens{50});
}

TEST(NgramDraft, OneTokenAlikeIsNotEnough) {
  EXPECT_EQ(guesses({1, 2, 3, 2}, 4), Tokens{});
  EXPECT_EQ(guesses({}, 4), Tokens{});
  EXPECT_EQ(guesses({1}, 4), Tokens{});
  EXPECT_EQ(guesses({1, 1}, 4), Tokens{});
}

TEST(NgramDraft, ATextThatRepeatsItselfIsContinued) {
  Tokens tokens;
  for (int32_t i = 0; i < 100; ++i) tokens.push_back(i % 5);
  EXPECT_EQ(guesses(tokens, 5), (Tokens{0, 1, 2, 3, 4}));
  EXPECT_EQ(guesses(Tokens(50, 3), 4), Tokens(4, 3));
}

TEST(DraftLength, GrowsWhileGuessesComeTrue) {
  DraftLength length(8);
  EXPECT_EQ(length.next(), 8);
  length.note(8, 2);
  EXPECT_EQ(length.next(), 2);
  length.note(2, 2);
  EXPECT_EQ(length.next(), 4);
  length.note(4, 4);
  EXPECT_EQ(length.next(), 8);
  length.note(8, 8);
  EXPECT_EQ(length.next(), 8);
  length.note(8, 0);
  EXPECT_EQ(length.next(), 1);
}

}  // namespace
}  // namespace fathom
