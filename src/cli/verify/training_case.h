// Recorded training: steps of AdamW over accumulated micro-batches, and forward calls under a capacity
// warm-up.
#pragma once

#include "base/result.h"
#include "cli/verify/model_case.h"
#include "cli/verify/report.h"
#include "train/parameters.h"

namespace fathom::cli::verify {

// Trains from the case's weights on its rows at its learning rates. Compares losses and selections of every
// micro-batch, gradient norms before clipping, which parameters decay, and the parameters after each step.
Status verify_training_steps(ModelCase& c, Report& report);

// Forward calls 1, 2, ... of one batch while the capacities shrink to the configured ones.
Status verify_warmup_calls(ModelCase& c, Report& report);

// Compares with parameters recorded as `prefix.<weight name>`.
void compare_parameters(ModelCase& c, const std::string& prefix, const train::Parameters& parameters,
                        Report& report);

}  // namespace fathom::cli::verify
