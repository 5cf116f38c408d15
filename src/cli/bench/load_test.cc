#include "cli/bench/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

namespace fathom::cli::bench {
namespace {

TEST(Load, IsAFunctionOfTheSeed) {
  Load load{.requests = 50, .rate = 2, .prefix = 3, .input = 20, .output = 10, .range_ratio = 0.5, .seed = 4};
  const std::vector<LoadItem> items = draw_load(load), again = draw_load(load);
  const auto same = [](const LoadItem& a, const LoadItem& b) {
    return a.arrival == b.arrival && a.input == b.input && a.output == b.output;
  };
  EXPECT_TRUE(std::ranges::equal(items, again, same));
  EXPECT_EQ(draw_prompt(load, items[7], 7, 97), draw_prompt(load, again[7], 7, 97));
  // More requests begin with the same ones.
  load.requests = 60;
  const std::vector<LoadItem> more = draw_load(load);
  EXPECT_TRUE(std::ranges::equal(items, std::span(more).first(50), same));
  load.seed = 5;
  EXPECT_FALSE(std::ranges::equal(draw_load(load), more, same));
}

TEST(Load, ArrivesAsAPoissonProcessOfItsRate) {
  const Load load{.requests = 20'001, .rate = 4};
  const std::vector<LoadItem> items = draw_load(load);
  EXPECT_EQ(items.front().arrival, 0);
  const double mean = items.back().arrival / 20'000;
  EXPECT_NEAR(mean, 0.25, 0.01);  // six standard errors
  double squares = 0, beyond = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    const double gap = items[i].arrival - items[i - 1].arrival;
    ASSERT_GE(gap, 0);
    squares += (gap - mean) * (gap - mean) / 20'000;
    beyond += gap > 0.25 ? 1.0 / 20'000 : 0;
  }
  // Of an exponential the deviation is the mean, and 1/e lies beyond it.
  EXPECT_NEAR(std::sqrt(squares), 0.25, 0.02);
  EXPECT_NEAR(beyond, std::exp(-1), 0.02);
}

TEST(Load, WithoutARateArrivesAtOnce) {
  const Load load{.requests = 5};
  EXPECT_TRUE(load.closed());
  for (const LoadItem& item : draw_load(load)) EXPECT_EQ(item.arrival, 0);
  EXPECT_FALSE((Load{.rate = 3}.closed()));
}

TEST(Load, LengthsLieWithinTheRatio) {
  const Load load{.requests = 2000, .prefix = 7, .input = 20, .output = 10, .range_ratio = 0.3};
  std::set<int64_t> inputs, outputs;
  for (const LoadItem& item : draw_load(load)) {
    inputs.insert(item.input);
    outputs.insert(item.output);
  }
  EXPECT_EQ(*inputs.begin(), 7 + 14);
  EXPECT_EQ(*inputs.rbegin(), 7 + 26);
  EXPECT_EQ(inputs.size(), 13U);
  EXPECT_EQ(*outputs.begin(), 7);
  EXPECT_EQ(*outputs.rbegin(), 13);
  // No request is empty, whatever the ratio.
  for (const LoadItem& item : draw_load({.requests = 100, .input = 1, .output = 2, .range_ratio = 0.9})) {
    EXPECT_EQ(item.input, 1);
    EXPECT_GE(item.output, 1);
  }
  for (const LoadItem& item : draw_load({.requests = 10, .input = 9, .output = 4})) {
    EXPECT_EQ(item.input, 9);
    EXPECT_EQ(item.output, 4);
  }
  EXPECT_EQ(longest({{0, 5, 9}, {0, 12, 1}}), 14);
}

TEST(Load, PromptsShareTheirPrefixAndNothingElse) {
  const Load load{.requests = 2, .prefix = 30, .input = 40};
  const std::vector<LoadItem> items = draw_load(load);
  const std::vector<int32_t> a = draw_prompt(load, items[0], 0, 97), b = draw_prompt(load, items[1], 1, 97);
  ASSERT_EQ(a.size(), 70U);
  ASSERT_EQ(b.size(), 70U);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 30, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + 30, a.end(), b.begin() + 30));
  EXPECT_LT(*std::ranges::max_element(a), 97);
  EXPECT_GE(*std::ranges::min_element(a), 0);
}

}  // namespace
}  // namespace fathom::cli::bench
