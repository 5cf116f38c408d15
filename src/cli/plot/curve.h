// Points of a curve, made smooth and few.
#pragma once

#include <cstdint>
#include <vector>

namespace fathom::cli::plot {

struct Point {
  double x = 0, y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

// Each y becomes the mean over `window` points around it: at the beginning fewer, as many on either side, so
// that a steep start stays where it is; at the end those that there are. A window of 1 changes nothing.
std::vector<Point> smoothed(const std::vector<Point>& points, int64_t window);

// At most about 2 * columns + 2 points that look the same when [low, high] is `columns` pixels wide: of those
// in one column the lowest and the highest, in their order, and the first and last of all. x must not
// decrease.
std::vector<Point> thinned(const std::vector<Point>& points, double low, double high, int64_t columns);

}  // namespace fathom::cli::plot
