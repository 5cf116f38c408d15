// The weight files of a fresh model, made while they are written: a model larger than memory can be made.
#pragma once

#include <cstdint>
#include <string>

#include "base/parallel.h"
#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"

namespace fathom {

// Every parameter at its initial value (plan/initial_value.h) by `seed`, under the plan's own names, in an
// existing directory. Matrices have `matrix_type` (kF32 or kBF16), the rest is float. `written` is told the
// bytes so far, now and then; it may stop the work by an error. Refused: parameters that start from others.
Status write_fresh_weights(const std::string& directory, const ModelPlan& plan, uint64_t seed,
                           DType matrix_type, Parallel& parallel,
                           const std::function<Status(uint64_t written)>& written = {},
                           uint64_t max_shard_bytes = kMaxShardBytes);

}  // namespace fathom
