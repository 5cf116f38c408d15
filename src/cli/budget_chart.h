// The loss of a routed model over what it may spend, as a picture.
#pragma once

#include <string>

#include "eval/depth_study.h"

namespace fathom::cli {

// An SVG file: nll over the share of the FLOPs of full depth, a line through the budgets, and a point each
// for the model's own thresholds and for the published rule. The study has a budget at least.
std::string draw_budget_chart(const eval::DepthStudy& study, const std::string& title);

}  // namespace fathom::cli
