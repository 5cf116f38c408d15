// A line that is drawn over while work goes on.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fathom::cli {

// Of `columns` at most: the parts, from the first on, as far as they fit, behind a bar of `share` in [0, 1]
// in the room that they leave, if that is enough for one. A first part that is longer is cut.
std::string bar_line(double share, const std::vector<std::string>& parts, size_t columns);

}  // namespace fathom::cli
