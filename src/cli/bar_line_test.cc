#include "cli/bar_line.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

TEST(BarLine, TheBarTakesTheRoomThatTheTextLeaves) {
  const std::vector<std::string> parts = {"step 1/2", "loss 4", "kept 100 %"};
  EXPECT_EQ(bar_line(0.5, parts, 200), "[############............] step 1/2  loss 4  kept 100 %");
  EXPECT_EQ(bar_line(0.5, parts, 41), "[#####.....] step 1/2  loss 4  kept 100 %");
  EXPECT_EQ(bar_line(1, parts, 39), "[########] step 1/2  loss 4  kept 100 %");
  EXPECT_EQ(bar_line(0.5, parts, 38), "step 1/2  loss 4  kept 100 %");
  EXPECT_EQ(bar_line(0.5, parts, 28), "step 1/2  loss 4  kept 100 %");
  EXPECT_EQ(bar_line(0.5, parts, 27), "[####....] step 1/2  loss 4");  // no part is shown by half
  EXPECT_EQ(bar_line(0.5, parts, 5), "step ");
}

}  // namespace
}  // namespace fathom::cli
