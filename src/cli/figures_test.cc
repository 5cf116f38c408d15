// Numbers as people read them.
#include "cli/figures.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

TEST(Figures, CountsKeepThreeDigitsOrSo) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(9999), "9999");
  EXPECT_EQ(short_count(12345), "12.3 k");
  EXPECT_EQ(short_count(1'262'000), "1.26 M");
  EXPECT_EQ(short_count(3.853e9), "3.85 G");
  EXPECT_EQ(short_count(1.2e13), "12.00 T");
}

TEST(Figures, DurationsAreClocks) {
  EXPECT_EQ(duration(0.9), "0:00");
  EXPECT_EQ(duration(65), "1:05");
  EXPECT_EQ(duration(3599), "59:59");
  EXPECT_EQ(duration(3600), "1:00:00");
  EXPECT_EQ(duration(36e4 + 61), "100:01:01");
}

}  // namespace
}  // namespace fathom::cli
