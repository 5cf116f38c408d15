// What a specification says by itself, before any layer is made: sizes inside limits, fields that contradict
// each other.
#pragma once

#include "base/result.h"
#include "plan/model_spec.h"

namespace fathom {

// Checks every field and returns the spec with the defaults filled in: head_dim, and of a router the
// capacities and thresholds. "hidden_size: found 0, expected 1 to 1048576".
Result<ModelSpec> check_spec(const ModelSpec& spec);

}  // namespace fathom
