// The time of a decoded token over the length of its context, a curve for each model.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/row.h"

namespace fathom::cli::bench {

// An SVG file of the rows that decode (bench/row.h): at each depth the median time of a token in
// milliseconds, with circles at what was measured. Rows that differ in more than model and depth are curves
// of their own, and their names say in what. At least one row decodes.
std::string draw_depth_chart(const std::vector<Json>& rows);

}  // namespace fathom::cli::bench
