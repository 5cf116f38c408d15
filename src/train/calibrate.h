// Thresholds for causal routing that keep the trained capacity: after training by top-k, threshold r is the
// logit that as many candidates of pass r reach as its capacity allows, measured on held-out rows.
#pragma once

#include <vector>

#include "plan/model_plan.h"
#include "train/executor.h"
#include "train/precision.h"

namespace fathom::train {

// Sets the thresholds of every routed segment of `plan` (the executor's), in its spec too, pass by pass: a
// later pass sees the rows that the thresholds before it let through.
void calibrate_thresholds(ModelPlan& plan, Executor& executor, const std::vector<Batch>& batches,
                          Precision precision);

}  // namespace fathom::train
