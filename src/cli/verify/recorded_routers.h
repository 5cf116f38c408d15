// What the routers of a training call did, against what was recorded of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/verify/model_case.h"
#include "train/executor.h"

namespace fathom::cli::verify {

// The biases of load balancing, empty without any.
std::vector<float> router_biases(const ModelPlan& plan, const train::Parameters& parameters);

// Compares with tensors and numbers whose names are `prefix` ("", "call3.", "micro0.") and "router.0.logits",
// "router.depth_index" and the like, as far as they were recorded. `sequences` are those of the batch;
// `biases` those that the call began with: a forced one takes them away after its scores were made.
void compare_routers(ModelCase& c, Report& report, const std::string& prefix,
                     std::span<const CaseSequence> sequences, const train::Batch& batch,
                     const train::ForwardResult& result, const std::vector<float>& biases);

}  // namespace fathom::cli::verify
