// Weights without a checkpoint, to time a shape.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "plan/matrix_types.h"
#include "weights/weights.h"

namespace fathom {

// Every parameter drawn as a fresh model's (plan/initial_value.h). Large matrices repeat their first values:
// drawing all of them would take longer than the measurement they are for. Matrices become what `matrices`
// says.
Weights random_weights(const ModelPlan& plan, uint64_t seed, const MatrixTypes& matrices, Parallel& parallel);

}  // namespace fathom
