// The value a fresh parameter starts from.
#pragma once

#include <cstdint>

#include "plan/model_plan.h"

namespace fathom {

// Element number `element` of a parameter whose last dimension is `columns`. A pure function of its
// arguments: `stream` tells the parameters of a model apart. What depends on other parameters (kRowNorms)
// gets the constant `a` here.
float initial_value(const Init& init, uint64_t seed, uint64_t stream, int64_t element, int64_t columns);

}  // namespace fathom
