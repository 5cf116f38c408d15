#include "cli/plot/curve.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace fathom::cli::plot {

std::vector<Point> smoothed(const std::vector<Point>& points, int64_t window) {
  FATHOM_CHECK(window >= 1, "a window of " + std::to_string(window));
  const auto count = static_cast<int64_t>(points.size());
  std::vector<Point> out = points;
  const int64_t reach = window / 2;
  // A window moves one point at a time: sums of the whole line so far, in double, cost no accuracy that a
  // line shows.
  std::vector<double> sums(points.size() + 1, 0);
  for (size_t i = 0; i < points.size(); ++i) sums[i + 1] = sums[i] + points[i].y;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t back = std::min(reach, i), ahead = std::min(back, count - 1 - i);
    const auto begin = static_cast<size_t>(i - back), end = static_cast<size_t>(i + ahead + 1);
    if (end - begin > 1)
      out[static_cast<size_t>(i)].y = (sums[end] - sums[begin]) / static_cast<double>(end - begin);
  }
  return out;
}

std::vector<Point> thinned(const std::vector<Point>& points, double low, double high, int64_t columns) {
  if (static_cast<int64_t>(points.size()) <= 2 * columns + 2) return points;
  std::vector<Point> out = {points.front()};
  const auto column_of = [&](const Point& point) {
    return std::floor((point.x - low) / (high - low) * static_cast<double>(columns));
  };
  for (size_t begin = 1; begin + 1 < points.size();) {
    size_t end = begin, lowest = begin, highest = begin;
    for (; end + 1 < points.size() && column_of(points[end]) == column_of(points[begin]); ++end) {
      if (points[end].y < points[lowest].y) lowest = end;
      if (points[end].y > points[highest].y) highest = end;
    }
    out.push_back(points[std::min(lowest, highest)]);
    if (lowest != highest) out.push_back(points[std::max(lowest, highest)]);
    begin = end;
  }
  out.push_back(points.back());
  return out;
}

}  // namespace fathom::cli::plot
