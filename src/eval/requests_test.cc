// Where a context ends and its continuation begins, in tokens.
#include "eval/requests.h"

#include <gtest/gtest.h>

#include <cctype>
#include <numeric>

namespace fathom::eval {
namespace {

using Ids = std::vector<int32_t>;

// A token is a word with the spaces before it, or spaces at the end: its id is made of its bytes. What a
// tokenizer does to " word" and to spaces alone is what matters here.
Ids encode_words(std::string_view text) {
  Ids ids;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = at;
    while (end < text.size() && text[end] == ' ') ++end;
    while (end < text.size() && text[end] != ' ') ++end;
    int32_t id = 0;
    for (const char c : text.substr(at, end - at)) id = id * 131 % 100003 + static_cast<uint8_t>(c);
    ids.push_back(id);
    at = end;
  }
  return ids;
}

int32_t id_of(std::string_view token) { return encode_words(token).at(0); }

const TextEncoder kEncoder = {encode_words, 1000000};

TEST(Requests, TheContinuationIsWhatComesBehindTheContextsTokens) {
  RequestMaker maker(kEncoder, 100);
  const auto request = maker.make("the cat", " sat down");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->tokens, (Ids{id_of("the"), id_of(" cat"), id_of(" sat"), id_of(" down")}));
  EXPECT_EQ(request->inputs, 3);
  EXPECT_EQ(request->first_target, 2);
  EXPECT_EQ(request->targets(), 2);
  EXPECT_FALSE(request->cut);
}

TEST(Requests, SpacesAtTheEndOfAContextMoveToTheContinuation) {
  RequestMaker maker(kEncoder, 100);
  const auto request = maker.make("the cat ", " sat");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->tokens, (Ids{id_of("the"), id_of(" cat"), id_of("  sat")}));
  EXPECT_EQ(request->targets(), 1);
}

TEST(Requests, AnEmptyContextIsThePrefixToken) {
  RequestMaker maker(kEncoder, 100);
  for (const char* context : {"", "  \n"}) {
    const auto request = maker.make(context, "sat down");
    ASSERT_TRUE(request.ok()) << request.error().message;
    EXPECT_EQ(request->tokens.front(), kEncoder.prefix);
    EXPECT_EQ(request->first_target, 1);
  }
  const TextEncoder same = {encode_words, id_of("sat")};
  const auto request = RequestMaker(same, 100).make("", "sat down");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->tokens, (Ids{id_of("sat"), id_of(" down")}));
}

TEST(Requests, WhatIsTooLongLosesItsStart) {
  RequestMaker maker(kEncoder, 3);
  const auto request = maker.make("a b c d", " e f");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->tokens, (Ids{id_of(" c"), id_of(" d"), id_of(" e"), id_of(" f")}));
  EXPECT_EQ(request->inputs, 3);
  EXPECT_EQ(request->targets(), 2);
  EXPECT_TRUE(request->cut);
}

TEST(Requests, WhatCannotBeScoredIsRefused) {
  const auto refusal = [](const TextEncoder& encoder, const char* context, const char* continuation) {
    const auto request = RequestMaker(encoder, 2).make(context, continuation);
    return request.ok() ? std::string("accepted") : request.error().message;
  };
  EXPECT_EQ(refusal(kEncoder, "a", ""), "the continuation \"\" adds no token to its context");
  EXPECT_EQ(refusal(kEncoder, "", ""), "the continuation \"\" has no token");
  EXPECT_EQ(refusal(kEncoder, "a", " b c d"), "a continuation of 3 tokens, the context is limited to 2");
  EXPECT_EQ(refusal({encode_words, -1}, "", "a"),
            "an empty context, and the tokenizer has no token that begins or ends a text");
}

// As get_rolling_token_windows and make_disjoint_window of lm-evaluation-harness on 0..9 with prefix 99.
TEST(Requests, RollingWindowsPredictEachTokenOnce) {
  Ids tokens(10);
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto windows = rolling_windows(tokens, 99, 4);
  ASSERT_TRUE(windows.ok());
  ASSERT_EQ(windows->size(), 3U);
  EXPECT_EQ((*windows)[0].tokens, (Ids{99, 0, 1, 2, 3}));
  EXPECT_EQ((*windows)[0].first_target, 1);
  EXPECT_EQ((*windows)[1].tokens, (Ids{3, 4, 5, 6, 7}));
  EXPECT_EQ((*windows)[1].first_target, 1);
  EXPECT_EQ((*windows)[2].tokens, (Ids{5, 6, 7, 8, 9}));  // as much context as there is room for
  EXPECT_EQ((*windows)[2].first_target, 3);
  for (int64_t max_inputs = 1; max_inputs < 13; ++max_inputs) {
    Ids predicted;
    const auto cut = rolling_windows(tokens, 99, max_inputs);
    for (const Request& window : *cut) {
      EXPECT_LE(window.inputs, max_inputs);
      predicted.insert(predicted.end(), window.tokens.begin() + window.first_target, window.tokens.end());
    }
    EXPECT_EQ(predicted, tokens) << max_inputs;
  }
  EXPECT_TRUE(rolling_windows({}, 99, 4)->empty());
  EXPECT_FALSE(rolling_windows(tokens, -1, 4).ok());
}

}  // namespace
}  // namespace fathom::eval
