#include "engine/logit_rules.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom {
namespace {

std::vector<float> after(const LogitRules& rules, const std::vector<int32_t>& tokens, int64_t prompt) {
  std::vector<float> logits = {4, -4, 2, -2, 0};
  apply_rules(rules, tokens, prompt, logits);
  return logits;
}

TEST(LogitRules, NoneChangeNothing) {
  EXPECT_FALSE(LogitRules{}.any());
  EXPECT_EQ(after({}, {0, 1, 2}, 1), (std::vector<float>{4, -4, 2, -2, 0}));
}

TEST(LogitRules, RepetitionCountsPromptAndTextOnce) {
  EXPECT_EQ(after({.repetition_penalty = 2}, {0, 1, 1, 3}, 2), (std::vector<float>{2, -8, 2, -4, 0}));
}

TEST(LogitRules, PresenceAndFrequencyCountTheTextAlone) {
  EXPECT_EQ(after({.presence_penalty = 0.5F, .frequency_penalty = 1}, {0, 2, 2, 3}, 1),
            (std::vector<float>{4, -4, -0.5F, -3.5F, 0}));
}

TEST(LogitRules, BiasComesBeforePenalties) {
  EXPECT_EQ(after({.bias = {{1, 10}, {4, -3}}, .repetition_penalty = 2}, {1, 4}, 2),
            (std::vector<float>{4, 3, 2, -2, -6}));
}

}  // namespace
}  // namespace fathom
