#include "cli/depth_colors.h"

#include <algorithm>
#include <array>

namespace fathom::cli {

namespace {

// From grey over blue and green to orange and red, in the terminal's colour cube.
constexpr std::array<int, 6> kPalette = {245, 75, 114, 221, 208, 203};

}  // namespace

std::string in_depth_color(std::string_view text, int depth, int most) {
  const int steps = static_cast<int>(kPalette.size()) - 1;
  const int place = most > 1 ? (std::clamp(depth, 1, most) - 1) * steps / (most - 1) : 0;
  return "\033[38;5;" + std::to_string(kPalette[static_cast<size_t>(place)]) + "m" + std::string(text) +
         "\033[0m";
}

std::string depth_legend(int most) {
  std::string legend = "depth";
  for (int depth = 1; depth <= most; ++depth) {
    legend += ' ';  // apart: g++ 12 misreads the sum of a literal and a temporary string
    legend += in_depth_color(std::to_string(depth), depth, most);
  }
  return legend;
}

}  // namespace fathom::cli
