#include "plan/capacity.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {

double warmed_capacity(double capacity, double done) {
  return capacity + (1.0 - capacity) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, done)));
}

}  // namespace fathom
