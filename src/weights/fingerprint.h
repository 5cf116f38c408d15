// Which weights made a state: a state continued under other weights would be nonsense without a sign of it.
#pragma once

#include <string>

#include "plan/model_plan.h"
#include "weights/weights.h"

namespace fathom {

// SHA-256, in hexadecimal, of the plan's configuration, of the types of its parameters and of some values of
// each: models differ in it unless they differ in a few values alone. Reads a page or two of each array.
std::string fingerprint_of(const ModelPlan& plan, const Weights& weights);

}  // namespace fathom
