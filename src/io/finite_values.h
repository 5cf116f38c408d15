// Whether weights are numbers: what `--check-tensors` looks for before a model is used.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "io/weight_files.h"

namespace fathom {

// Index of the first element that is NaN or infinite, in the order of the file; nothing if all are finite, as
// those of integer types are. One pass over the mapping at the speed of memory.
std::optional<uint64_t> first_not_finite(const StoredTensor& tensor);

// kInvalid for the first tensor that holds such an element: file, tensor, element and what it is.
Status check_finite(const WeightFiles& files);

}  // namespace fathom
