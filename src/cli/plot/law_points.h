// Points to fit laws to, from a JSON file:
//
//   {"series": [{"name": "SambaY", "points": [[9.1e18, 2.5051], [1.0e20, 2.2073], ...]}, ...]}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/plot/chart.h"

namespace fathom::cli::plot {

// The points of each series are its marks, sorted by x. Errors name the series and the entry.
Result<std::vector<Curve>> parse_law_points(std::string_view json);
Result<std::vector<Curve>> read_law_points(const std::string& path);

}  // namespace fathom::cli::plot
