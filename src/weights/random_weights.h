// Weights without a checkpoint, to time a shape.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "weights/weights.h"

namespace fathom {

// Every parameter drawn as a fresh model's (plan/initial_value.h). Large matrices repeat their first values:
// drawing all of them would take longer than the measurement they are for. Matrices become `matrix_type`
// (kF32, kBF16 or kI8).
Weights random_weights(const ModelPlan& plan, uint64_t seed, DType matrix_type, Parallel& parallel);

}  // namespace fathom
