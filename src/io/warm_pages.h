// Mapped weights made ready while something else is done: the first pass over a file that lies in memory
// waits for the system at each of its pages, two million of them in 8 GB.
#pragma once

#include <memory>
#include <thread>

#include "io/weight_files.h"

namespace fathom {

// A thread that asks the system for the pages of all tensors, in order, until it is done or stopped. What is
// only on disk is read on the way. Where the system cannot be asked (before Linux 5.14) it ends at once.
std::jthread warm_pages(std::shared_ptr<const WeightFiles> files);

}  // namespace fathom
