// Capacities that a forward call of training draws.
#include "plan/capacity.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(DrawnCapacity, GoesFromCapacityToCapacityLowAndStaysNested) {
  RouterSpec router;
  router.capacity = {1, 0.8, 0.8};
  router.capacity_low = {1, 0.4, 0.1};
  for (const double drawn : {0.0, 0.25, 0.5, 0.999}) {
    double before = 1;
    for (int32_t depth = 0; depth < 3; ++depth) {
      const auto d = static_cast<size_t>(depth);
      const double capacity = drawn_capacity(router, depth, drawn);
      EXPECT_LE(capacity, router.capacity[d]);
      EXPECT_GE(capacity, router.capacity_low[d]);
      EXPECT_LE(capacity, before);
      before = capacity;
    }
  }
  EXPECT_EQ(drawn_capacity(router, 1, 0), 0.8);
  EXPECT_DOUBLE_EQ(drawn_capacity(router, 2, 0.5), 0.45);
  EXPECT_EQ(drawn_capacity(router, 0, 0.7), 1);  // unless asked, the first recursion takes every token
}

TEST(DrawnCapacity, IsTheCapacityWhereNoneIsGiven) {
  RouterSpec router;
  router.capacity = {1, 0.5};
  EXPECT_EQ(drawn_capacity(router, 1, 0.9), 0.5);
}

}  // namespace
}  // namespace fathom
