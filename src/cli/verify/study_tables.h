// The tables of the decoder-hybrid-decoder study: each against the function of the plan or of the schedule
// that says it. A JSON error becomes an exception of its library, which the caller turns into a sentence.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "cli/verify/report.h"

namespace fathom::cli::verify {

// Parameters and tensors of every architecture and depth.
Status compare_study_counts(const nlohmann::json& table, Report& report);
// Initial distribution, learning-rate multiplier and weight decay of every parameter, scales of every model.
Status compare_init_and_groups(const nlohmann::json& table, Report& report);
// Learning rates of every micro-batch.
Status compare_study_schedules(const nlohmann::json& table, Report& report);
// Tokens of training and of a batch, peak learning rates.
Status compare_study_budgets(const nlohmann::json& table, Report& report);
// Laws fitted to the published losses: sums of squares, values at the points, floors.
Status compare_scaling_fits(const nlohmann::json& table, Report& report);
// Names and shapes of the released checkpoint.
Status compare_phi4_tensors(const nlohmann::json& table, Report& report);

}  // namespace fathom::cli::verify
