// Thresholds for causal routing that keep the trained capacity: after training by top-k, threshold r is the
// logit that as many candidates of pass r reach as its capacity allows, measured on the rows given. The first
// pass is always made, whatever its capacity.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/model_plan.h"
#include "train/executor.h"
#include "train/precision.h"

namespace fathom::train {

// Whether there is a threshold to calibrate: expert choice that decides more than once.
bool has_thresholds(const ModelPlan& plan);

// The value that about `keep` of the logits reach, from 1 to all of them: half way between two neighbours
// that are further apart than roundings differ between trainer and engine, as near to `keep` as there are
// such. Equal texts have equal logits, which a threshold among them would tear apart by their last digits.
// Without such neighbours all logits reach it.
double reached_by(std::vector<float> logits, int64_t keep);

// Sets the thresholds of every routed segment of `plan` (the executor's), in its spec too, pass by pass: a
// later pass sees the rows that the thresholds before it let through.
void calibrate_thresholds(ModelPlan& plan, Executor& executor, const std::vector<Batch>& batches,
                          Precision precision);

}  // namespace fathom::train
