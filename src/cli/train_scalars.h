// The numbers of a training run by name, for logs that hold nothing but numbers: metrics.csv and TensorBoard.
#pragma once

#include <string>
#include <vector>

#include "io/event_file.h"
#include "train/loop.h"

namespace fathom::cli {

// Health and losses of routers, by name.
std::vector<std::pair<std::string, double>> router_figures(const train::StepReport& report);

// Tags are "group/name" with names that no two groups share. A number that the run does not have (a router's,
// without a router) has no tag.
std::vector<EventScalar> scalars_of(const train::StepReport& report,
                                    const std::vector<train::SourceSummary>& sources);
std::vector<EventScalar> scalars_of(const train::EvaluationReport& report);

// Every tag that a run will report.
std::vector<std::string> scalar_tags(const train::RunSummary& summary);

}  // namespace fathom::cli
