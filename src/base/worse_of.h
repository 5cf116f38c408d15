// The larger of two errors, infinite where either is NaN: std::max(0.0, NaN) is 0, which would be a perfect
// match.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom {

inline double worse_of(double worst, double error) {
  if (std::isnan(worst) || std::isnan(error)) return std::numeric_limits<double>::infinity();
  return std::max(worst, error);
}

}  // namespace fathom
