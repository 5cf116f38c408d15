#include "plan/capacity.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {

double warmed_capacity(double capacity, double done) {
  return capacity + (1.0 - capacity) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, done)));
}

double drawn_capacity(const RouterSpec& router, int32_t depth, double drawn) {
  const auto d = static_cast<size_t>(depth);
  const double high = router.capacity[d];
  return router.capacity_low.empty() ? high : high - drawn * (high - router.capacity_low[d]);
}

}  // namespace fathom
