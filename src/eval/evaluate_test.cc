// From log-likelihoods to verdicts, and from verdicts to results.
#include "eval/evaluate.h"

#include <gtest/gtest.h>

#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::eval {
namespace {

using Verdicts = std::vector<double>;

Verdicts verdicts(const char* task, const Item& item, std::vector<double> log_likelihoods) {
  std::vector<Score> scores;
  for (double value : log_likelihoods) scores.push_back({value, false});
  return verdicts_of(**find_task(task), item, scores);
}

TEST(Verdicts, AccNormIsPerCharacterAndAccBytesPerByte) {
  // Characters 4, 3, 2; bytes 4, 9, 4.
  const Item item = {
      .contexts = {"?"}, .continuations = {"abcd", "\u4e2d\u6587\u5b57", "\u00e9\u00e8"}, .gold = 1};
  // Per character -1, -1.1, -0.9; per byte -1, -0.37, -0.45.
  EXPECT_EQ(verdicts("arc_easy", item, {-4, -3.3, -1.8}), (Verdicts{0, 0, 1}));
  // Per character -1, -0.9, -1.1; per byte -1, -0.3, -0.55.
  EXPECT_EQ(verdicts("arc_easy", item, {-4, -2.7, -2.2}), (Verdicts{0, 1, 1}));
  EXPECT_EQ(verdicts("arc_easy", item, {-4, -1, -2.2}), (Verdicts{1, 1, 1}));
}

TEST(Verdicts, TheFirstOfEqualsIsTaken) {
  Item item = {.contexts = {"?"}, .continuations = {"ab", "cd"}, .gold = 0};
  EXPECT_EQ(verdicts("piqa", item, {-2, -2}), (Verdicts{1, 1, 1}));
  item.gold = 1;
  EXPECT_EQ(verdicts("piqa", item, {-2, -2}), (Verdicts{0, 0, 0}));
}

TEST(Verdicts, AnEmptyChoiceLosesWhereLengthCounts) {
  const Item item = {.contexts = {"?"}, .continuations = {"", "cd"}, .gold = 0};
  EXPECT_EQ(verdicts("piqa", item, {-1, -2}), (Verdicts{1, 0, 0}));
}

TEST(Verdicts, WithoutChoicesEveryTokenMustBeTheMostProbable) {
  const Item item = {.contexts = {"?"}, .continuations = {"word"}};
  const Task& task = **find_task("lambada_openai");
  EXPECT_EQ(verdicts_of(task, item, std::vector<Score>{{-2.5, true}}), (Verdicts{-2.5, 1}));
  EXPECT_EQ(verdicts_of(task, item, std::vector<Score>{{-2.5, false}}), (Verdicts{-2.5, 0}));
}

// Bytes below 97 of the tiny model's vocabulary.
const TextEncoder kEncoder = {[](std::string_view text) {
                                std::vector<int32_t> ids;
                                for (const char c : text) ids.push_back(static_cast<uint8_t>(c) % 97);
                                return ids;
                              },
                              0};

TEST(Evaluate, GroupsAreTasksAndTheTotalIsTheirMean) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  SerialParallel serial;
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  TaskItems items{.task = *find_task("mmlu_continuation"), .file = "test.jsonl", .form = "published"};
  for (int i = 0; i < 7; ++i) {
    items.items.push_back(
        {.group = i < 4 ? "mmlu_continuation_law" : "mmlu_continuation_physics",
         .index = i < 4 ? i : i - 4,
         .contexts = {"Question " + std::to_string(i) + "?"},
         .continuations = {"yes", "no", "perhaps", std::string(static_cast<size_t>(i + 1), 'x')},
         .gold = i % 4});
  }
  const auto longest = longest_request(items, kEncoder, 64);
  ASSERT_TRUE(longest.ok());
  EXPECT_EQ(*longest, 11 + 1 + 7 - 1);
  Scorer scorer(plan, weights, {.max_inputs = *longest}, serial);
  std::vector<Verdicts> seen;
  const auto report = evaluate(items, kEncoder, 64, scorer, [&](const ScoredItem& scored) -> Status {
    seen.push_back(scored.verdicts);
    EXPECT_EQ(scored.done, static_cast<int64_t>(seen.size()));
    return {};
  });
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->groups.size(), 2U);
  EXPECT_EQ(report->groups[0].name, "mmlu_continuation_law");
  EXPECT_EQ(report->groups[0].items, 4);
  EXPECT_EQ(report->groups[1].items, 3);
  ASSERT_EQ(seen.size(), 7U);
  for (size_t m = 0; m < 3; ++m) {
    double sum = 0;
    for (const Verdicts& item : seen) sum += item[m];
    EXPECT_NEAR(report->total.metrics[m].estimate.value, sum / 7, 1e-15);
  }
}

TEST(Evaluate, WhatCannotBeScoredIsNamed) {
  TaskItems items{.task = *find_task("piqa"), .file = "val.jsonl", .form = "published"};
  items.items.push_back({.index = 5, .contexts = {"abc"}, .continuations = {"d", "efgh"}, .gold = 0});
  const auto longest = longest_request(items, kEncoder, 4);
  ASSERT_FALSE(longest.ok());
  EXPECT_EQ(longest.error().message,
            "val.jsonl, item 5: a continuation of 5 tokens, the context is limited to 4");
}

TEST(Evaluate, AnErrorOfTheListenerEndsIt) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  SerialParallel serial;
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  TaskItems items{.task = *find_task("piqa"), .file = "val.jsonl", .form = "published"};
  for (int i = 0; i < 3; ++i)
    items.items.push_back({.index = i, .contexts = {"abc"}, .continuations = {"d", "e"}, .gold = 0});
  Scorer scorer(plan, weights, {.max_inputs = 8}, serial);
  int calls = 0;
  const auto report = evaluate(items, kEncoder, 8, scorer, [&](const ScoredItem&) -> Status {
    return ++calls == 2 ? Status(Error{"enough", ErrorKind::kCancelled}) : Status();
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "enough");
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace fathom::eval
