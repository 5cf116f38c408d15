// Means over windows, and fewer points that look the same.
#include "cli/plot/curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace fathom::cli::plot {
namespace {

std::vector<double> ys(const std::vector<Point>& points) {
  std::vector<double> out;
  for (const Point& point : points) out.push_back(point.y);
  return out;
}

TEST(Smoothed, IsTheMeanAroundEachPoint) {
  const std::vector<Point> points = {{1, 9}, {2, 3}, {3, 6}, {4, 0}, {5, 3}};
  EXPECT_EQ(smoothed(points, 1), points);
  EXPECT_EQ(ys(smoothed(points, 3)), (std::vector<double>{9, 6, 3, 3, 1.5}));
  // The first stays, the second sees one to either side, the last those that there are.
  EXPECT_EQ(ys(smoothed(points, 5)), (std::vector<double>{9, 6, 4.2, 3, 3}));
  EXPECT_TRUE(smoothed({}, 7).empty());
}

TEST(Smoothed, AStraightLineStaysStraightWhereTheWindowIsWhole) {
  std::vector<Point> points;
  for (int i = 0; i < 50; ++i) points.push_back({double(i), 3.0 - 0.25 * i});
  const std::vector<Point> means = smoothed(points, 9);
  for (size_t i = 0; i < 46; ++i) EXPECT_NEAR(means[i].y, points[i].y, 1e-12) << i;
}

TEST(Thinned, KeepsEndsAndExtremesOfEachColumn) {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({double(i), normal(3, 0, static_cast<uint64_t>(i))});
  points[41234].y = 40;  // a spike that a picture must show
  const std::vector<Point> few = thinned(points, 0, 99999, 700);
  EXPECT_LE(few.size(), 1402U);
  EXPECT_EQ(few.front(), points.front());
  EXPECT_EQ(few.back(), points.back());
  EXPECT_TRUE(std::ranges::is_sorted(few, {}, &Point::x));
  EXPECT_TRUE(std::ranges::find(few, points[41234]) != few.end());
  for (const Point& point : few) EXPECT_EQ(points[static_cast<size_t>(point.x)], point);
  const std::vector<Point> short_line(points.begin(), points.begin() + 500);
  EXPECT_EQ(thinned(short_line, 0, 499, 700), short_line);
}

}  // namespace
}  // namespace fathom::cli::plot
