// Text with each token in the colour of its recursion depth, for terminals of 256 colours.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::cli {

// `text` in the colour of `depth` passes out of `most`: grey for one, then warmer.
std::string in_depth_color(std::string_view text, int depth, int most);
// "depth 1 2 3", each in its colour.
std::string depth_legend(int most);

}  // namespace fathom::cli
