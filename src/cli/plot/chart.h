// A line chart as an SVG file that needs nothing else to be shown.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/plot/axis.h"
#include "cli/plot/curve.h"

namespace fathom::cli::plot {

struct Curve {
  std::string name;
  std::vector<Point> points;  // x not decreasing
  std::vector<Point> marks;   // drawn as circles, e.g. of evaluations
};

struct Range {
  double low = 0, high = 0;
};

struct ChartSettings {
  std::string title{}, x_name{}, y_name{}, marks_name{};
  Unit x_unit = Unit::kNumber, y_unit = Unit::kNumber;
  bool log_x = false, log_y = false;  // points at zero or below are left out then
  int64_t smooth = 1;                 // above 1: a pale line of the points and a strong one of their means
  std::optional<Range> x_range{}, y_range{};  // what is shown; else all there is
};

// The whole file. At least one curve must have a point to be shown.
std::string draw_chart(const std::vector<Curve>& curves, const ChartSettings& settings);

// Whether draw_chart() has anything to draw.
bool has_points(const std::vector<Curve>& curves, const ChartSettings& settings);

}  // namespace fathom::cli::plot
