#include "base/worse_of.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fathom {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(WorseOf, IsTheLarger) {
  EXPECT_EQ(worse_of(0, 0.5), 0.5);
  EXPECT_EQ(worse_of(2, 0.5), 2);
  EXPECT_EQ(worse_of(2, kInfinity), kInfinity);
}

TEST(WorseOf, CountsNaNAsInfinite) {
  EXPECT_EQ(worse_of(0, std::nan("")), kInfinity);
  EXPECT_EQ(worse_of(std::nan(""), 0), kInfinity);
  EXPECT_EQ(worse_of(0, std::fabs(kInfinity - kInfinity)), kInfinity);
}

}  // namespace
}  // namespace fathom
