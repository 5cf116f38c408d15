// The picture: every curve a line in the plot at the right place, every name in the legend, no two over each
// other.
#include "cli/plot/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <regex>

#include "base/check.h"

namespace fathom::cli::plot {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// First group of every match.
std::vector<std::string> all(const std::string& text, const std::string& pattern) {
  std::vector<std::string> found;
  const std::regex regex(pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

Curve falling(const std::string& name, double floor) {
  Curve curve{name, {}, {}};
  for (int i = 1; i <= 100; ++i) curve.points.push_back({double(i), floor + 4.0 / i});
  return curve;
}

std::vector<std::pair<double, double>> points_of(const std::string& path) {
  std::vector<std::pair<double, double>> points;
  const std::regex pair("(-?[0-9.]+),(-?[0-9.]+)");
  for (std::sregex_iterator match(path.begin(), path.end(), pair), end; match != end; ++match)
    points.emplace_back(std::stod((*match)[1]), std::stod((*match)[2]));
  return points;
}

TEST(Chart, LinesRunFromLeftToRightAndFallWithTheLoss) {
  const std::string svg = draw_chart({falling("a", 1)}, {.title = "t", .x_name = "steps", .y_name = "loss"});
  const std::vector<std::string> paths = all(svg, "<path d=\"([^\"]*)\"");
  ASSERT_EQ(paths.size(), 1U);
  const auto points = points_of(paths[0]);
  ASSERT_EQ(points.size(), 100U);
  for (size_t i = 1; i < points.size(); ++i) {
    EXPECT_GT(points[i].first, points[i - 1].first);
    EXPECT_GE(points[i].second, points[i - 1].second);  // downwards on the page
  }
  // The axis begins at 0, left of the first point and at the left end of the plot.
  EXPECT_NEAR(points.front().first - 76, points[1].first - points[0].first, 0.11);
  EXPECT_THAT(svg, HasSubstr(">loss</text>"));
  EXPECT_THAT(svg, HasSubstr(">steps</text>"));
}

TEST(Chart, SmoothingAddsAPaleLineOfThePoints) {
  const std::string svg = draw_chart({falling("a", 1), falling("b", 2)}, {.smooth = 5});
  EXPECT_EQ(all(svg, "<path (d)=").size(), 4U);
  EXPECT_EQ(all(svg, "(opacity=\"0.25\")").size(), 2U);
}

TEST(Chart, NamesInTheLegendDoNotTouchAndStayInThePicture) {
  for (const int count : {1, 2, 7, 30}) {
    std::vector<Curve> curves;
    for (int c = 0; c < count; ++c) curves.push_back(falling("run-" + std::to_string(c), 1 + 0.001 * c));
    const std::string svg = draw_chart(curves, {});
    std::vector<double> tops;
    for (const std::string& top : all(svg, "y=\"([0-9.]+)\"[^>]*>run-")) tops.push_back(std::stod(top));
    ASSERT_EQ(tops.size(), curves.size());
    std::ranges::sort(tops);
    for (size_t i = 1; i < tops.size(); ++i) EXPECT_GE(tops[i] - tops[i - 1], 19);
    const double height = std::stod(all(svg, "height=\"([0-9.]+)\"").front());
    EXPECT_GT(tops.front(), 40);
    EXPECT_LT(tops.back(), height - 20);
    // Each line has a look of its own.
    std::vector<std::string> looks = all(svg, "<path d=\"[^\"]*\" (stroke=[^/]*)/>");
    std::ranges::sort(looks);
    if (count <= 21) {
      EXPECT_TRUE(std::ranges::adjacent_find(looks) == looks.end());
    }
  }
}

TEST(Chart, WhatCannotBeDrawnIsLeftOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Curve curve{"a", {{1, 2}, {2, nan}, {3, 0}, {4, 8}, {5, INFINITY}}, {{2, 4}, {3, -1}}};
  const std::string linear = draw_chart({curve}, {});
  EXPECT_EQ(points_of(all(linear, "<path d=\"([^\"]*)\"")[0]).size(), 3U);
  const std::string log = draw_chart({curve}, {.log_y = true});
  EXPECT_EQ(points_of(all(log, "<path d=\"([^\"]*)\"")[0]).size(), 2U);
  EXPECT_THAT(log, Not(HasSubstr("nan")));
  EXPECT_THAT(log, Not(HasSubstr("inf")));
  EXPECT_FALSE(has_points({{"a", {{1, 0}, {2, -3}}, {}}}, {.log_y = true}));
  EXPECT_THROW(draw_chart({}, {}), CheckFailure);
}

TEST(Chart, ASinglePointIsADotAndNamesAreEscaped) {
  const std::string svg = draw_chart({{"<a & \"b\">", {{1, 2}}, {}}}, {.title = "x<y"});
  EXPECT_THAT(svg, HasSubstr(" h0\""));
  EXPECT_THAT(svg, HasSubstr("&lt;a &amp; &quot;b&quot;&gt;"));
  EXPECT_THAT(svg, HasSubstr("x&lt;y"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(Chart, ARangeShowsAPart) {
  const std::string svg = draw_chart({falling("a", 1)}, {.x_range = Range{50, 100}, .y_range = Range{1, 2}});
  const auto points = points_of(all(svg, "<path d=\"([^\"]*)\"")[0]);
  EXPECT_NEAR(points[49].first, 76, 0.1);
  EXPECT_LT(points[0].first, 76);  // cut off by the clip path
  EXPECT_THAT(svg, HasSubstr("clip-path=\"url(#plot)\""));
}

}  // namespace
}  // namespace fathom::cli::plot
