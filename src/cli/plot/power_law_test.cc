#include "cli/plot/power_law.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace fathom::cli::plot {
namespace {

std::vector<Point> points_of(const PowerLaw& law, const std::vector<double>& x, double noise = 0) {
  std::vector<Point> points;
  for (double at : x)
    points.push_back({at, law.at(at) + noise * normal(3, 1, static_cast<uint64_t>(points.size()))});
  return points;
}

TEST(PowerLaw, IsFoundAgainFromItsPoints) {
  const std::vector<double> flops = {9e18, 1e20, 6e20, 2e21, 7e21}, tokens = {1, 2, 3, 5, 8, 13};
  for (const PowerLaw& law : {PowerLaw{50, 0.075, 0.64}, PowerLaw{240, 0.115, 1.1}}) {
    const auto fit = fit_power_law(points_of(law, flops));
    ASSERT_TRUE(fit.ok()) << fit.error().message;
    EXPECT_NEAR(fit->law.b, law.b, 1e-6);
    EXPECT_NEAR(fit->law.c, law.c, 1e-5);
    EXPECT_NEAR(fit->law.a, law.a, 1e-3 * law.a);
    EXPECT_NEAR(fit->r2, 1, 1e-9);
  }
  const auto fit = fit_power_law(points_of({1.3, 0.4, 1.8}, tokens));
  EXPECT_NEAR(fit->law.b, 0.4, 1e-6);
  EXPECT_NEAR(fit->law.c, 1.8, 1e-6);
}

TEST(PowerLaw, NoNeighbourIsBetter) {
  const std::vector<Point> points = points_of({2, 0.5, 1}, {1, 2, 4, 8, 16, 32}, 0.02);
  const auto fit = fit_power_law(points);
  ASSERT_TRUE(fit.ok());
  const auto squares = [&](const PowerLaw& law) {
    double total = 0;
    for (const Point& point : points) total += std::pow(law.at(point.x) - point.y, 2);
    return total;
  };
  EXPECT_NEAR(squares(fit->law), fit->sum_of_squares, 1e-15);
  for (double by : {0.999, 1.001}) {
    EXPECT_GE(squares({fit->law.a * by, fit->law.b, fit->law.c}), fit->sum_of_squares);
    EXPECT_GE(squares({fit->law.a, fit->law.b * by, fit->law.c}), fit->sum_of_squares);
    EXPECT_GE(squares({fit->law.a, fit->law.b, fit->law.c * by}), fit->sum_of_squares);
  }
}

// A last loss that rises would want a floor above the smallest.
TEST(PowerLaw, TheFloorIsNotAboveTheSmallestLossAndNotBelowZero) {
  const std::vector<Point> rises = {{1, 2.07}, {2, 2.02}, {3, 1.99}, {4, 1.97}, {5, 1.96}, {6, 2.0}};
  EXPECT_EQ(fit_power_law(rises)->law.c, 1.96);
  const std::vector<Point> steep = {{1, 3}, {2, 2}, {4, 0.9}};
  EXPECT_GE(fit_power_law(steep)->law.c, 0);
}

TEST(PowerLaw, WhatIsNoLawIsRefused) {
  const auto refusal = [](const std::vector<Point>& points) { return fit_power_law(points).error().message; };
  EXPECT_EQ(refusal({{1, 2}, {2, 1}}), "2 points, expected at least 3 for a law of 3 numbers");
  EXPECT_EQ(refusal({{1, 2}, {0, 1}, {2, 1}}),
            "the point (0.000000, 1.000000) is not of two positive numbers");
  EXPECT_EQ(refusal({{1, 2}, {2, INFINITY}, {3, 1}}),
            "the point (2.000000, inf) is not of two positive numbers");
  EXPECT_EQ(refusal({{2, 2}, {2, 1}, {2, 1}}), "all points have the same x, 2.000000");
  EXPECT_EQ(refusal({{1, 1}, {2, 2}, {3, 3}}), "the losses do not fall as x grows");
  EXPECT_EQ(refusal({{3, 1e-308}, {2e307, 1e308}, {1e308, 2}}),
            "the sum of squares around the mean loss is not finite, expected points of smaller numbers");
}

}  // namespace
}  // namespace fathom::cli::plot
