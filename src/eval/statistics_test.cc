// Means and their standard errors.
#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace fathom::eval {
namespace {

TEST(Statistics, TheErrorOfAMeanIsThatOfTheSample) {
  const std::array<double, 4> values = {1, 0, 0, 1};
  const Estimate estimate = mean_of(values);
  EXPECT_DOUBLE_EQ(estimate.value, 0.5);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(1.0 / 3) / 2, 1e-15);
  EXPECT_EQ(estimate.items, 4);
  EXPECT_EQ(mean_of(std::array<double, 2>{1, 1}).standard_error, 0);
  EXPECT_TRUE(std::isnan(mean_of(std::array<double, 1>{1}).standard_error));
}

TEST(Statistics, PerplexityIsTheExponentialOfTheMean) {
  const std::array<double, 2> values = {-1, -3};
  const Estimate estimate = perplexity_of(values);
  EXPECT_NEAR(estimate.value, std::exp(2), 1e-12);
  EXPECT_NEAR(estimate.standard_error, std::exp(2) * std::sqrt(2.0) / std::sqrt(2.0), 1e-12);
}

TEST(Statistics, ThePopulationDeviationIsThatOfAllValues) {
  EXPECT_DOUBLE_EQ(population_deviation(std::array<double, 4>{1, 2, 3, 4}), std::sqrt(1.25));
  EXPECT_EQ(population_deviation(std::array<double, 1>{7}), 0);
}

TEST(Statistics, GroupsWeighByTheirItems) {
  const std::vector<double> a = {1, 0, 1, 1, 0}, b = {0, 0, 1};
  const std::array<Estimate, 2> groups = {mean_of(a), mean_of(b)};
  const Estimate all = pooled(groups);
  EXPECT_DOUBLE_EQ(all.value, 0.5);
  EXPECT_EQ(all.items, 8);
  // The sample variances 0.3 and 1/3, weighted by their degrees of freedom 4 and 2.
  EXPECT_NEAR(all.standard_error, std::sqrt((4 * 0.3 + 2 * (1.0 / 3)) / 6 / 8), 1e-15);
  EXPECT_TRUE(std::isnan(
      pooled(std::array<Estimate, 2>{mean_of(a), mean_of(std::array<double, 1>{1})}).standard_error));
}

}  // namespace
}  // namespace fathom::eval
