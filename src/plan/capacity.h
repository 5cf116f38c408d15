// Capacities on their way: the warm-up of expert-choice routing (Mixture-of-Recursions 3.2).
#pragma once

namespace fathom {

// The capacity at a forward call of training that is `done` of the warm-up, 1 or more: over.
//   c + (1 - c) (1 + cos(pi min(1, done))) / 2,   done = t / W
// t counts forward calls, each micro-batch one, from 1: the first call is on its way already.
double warmed_capacity(double capacity, double done);

}  // namespace fathom
