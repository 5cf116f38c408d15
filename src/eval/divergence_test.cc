#include "eval/divergence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace fathom::eval {
namespace {

TEST(Divergence, OfTwoDistributionsIsTheFormula) {
  // Logits up to a constant: p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4).
  const float p[] = {std::log(2.0F) + 5, 5, 5}, q[] = {-3, std::log(2.0F) - 3, -3};
  const int32_t target = 1;
  SerialParallel serial;
  Divergence d;
  d.add(p, q, &target, 1, 3, serial);
  EXPECT_NEAR(d.mean(), 0.5 * std::log(2.0) + 0.25 * std::log(0.5), 1e-7);
  EXPECT_EQ(d.agreement(), 0);
  EXPECT_NEAR(d.reference_perplexity(), 4, 1e-6);
  EXPECT_NEAR(d.other_perplexity(), 2, 1e-6);
}

TEST(Divergence, IsZeroForOneModelAndPositiveForTwo) {
  constexpr int64_t kRows = 50, kVocab = 37;
  std::vector<float> logits(kRows * kVocab), other;
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 3 * normal(1, 1, i);
  other = logits;
  std::vector<int32_t> targets(kRows, 3);
  ThreadPool pool(3);
  Divergence same;
  same.add(logits.data(), other.data(), targets.data(), kRows, kVocab, pool);
  EXPECT_EQ(same.quantile(1), 0);
  EXPECT_EQ(same.agreement(), 1);
  EXPECT_EQ(same.reference_perplexity(), same.other_perplexity());
  for (size_t i = 0; i < other.size(); ++i) other[i] += 0.1F * normal(1, 2, i);
  Divergence apart;
  apart.add(logits.data(), other.data(), targets.data(), kRows, kVocab, pool);
  EXPECT_GT(apart.quantile(0), 0);
  EXPECT_LT(apart.mean(), 0.05);
  EXPECT_EQ(apart.predictions(), kRows);
}

TEST(Divergence, QuantilesAreValuesThatThatShareDoesNotExceed) {
  Divergence d;
  for (int i = 200; i >= 1; --i) d.values.push_back(i);
  EXPECT_EQ(d.quantile(0), 1);
  EXPECT_EQ(d.quantile(0.5), 100);
  EXPECT_EQ(d.quantile(0.99), 198);
  EXPECT_EQ(d.quantile(1), 200);
  EXPECT_EQ(d.mean(), 100.5);
}

}  // namespace
}  // namespace fathom::eval
