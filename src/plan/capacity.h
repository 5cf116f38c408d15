// Capacities of a forward call of training: drawn between two bounds, and on their way down during the
// warm-up of expert-choice routing (Mixture-of-Recursions 3.2).
#pragma once

#include <cstdint>

#include "plan/model_spec.h"

namespace fathom {

// The capacity at a forward call of training that is `done` of the warm-up, 1 or more: over.
//   c + (1 - c) (1 + cos(pi min(1, done))) / 2,   done = t / W
// t counts forward calls, each micro-batch one, from 1: the first call is on its way already.
double warmed_capacity(double capacity, double done);

// The capacity of recursion `depth` of a call that drew `drawn`, in [0, 1): that much of the way from
// `capacity` down to `capacity_low`, which is `capacity` again where none is given. As both are
// non-increasing over depths, so is what is drawn.
double drawn_capacity(const RouterSpec& router, int32_t depth, double drawn);

}  // namespace fathom
