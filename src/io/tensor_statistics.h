// What the values of a tensor look like: for `fathom inspect` and for checks of a checkpoint's health.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "io/tensor_file.h"

namespace fathom {

// NaN and infinities are counted and left out of the rest. Without finite values, min, max and the others
// are 0.
struct TensorStatistics {
  uint64_t elements = 0, nan = 0, infinite = 0, zeros = 0;
  double min = 0, max = 0, mean = 0;
  double deviation = 0;  // square root of the mean squared distance from the mean
};

// Every dtype that can be read. One pass over the mapping; nothing is copied.
TensorStatistics tensor_statistics(const TensorFile& file, const TensorInfo& info);

}  // namespace fathom
