// A checkpoint made of another one's tensors, without a copy of what needs no conversion.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "io/safetensors_writer.h"
#include "plan/model_plan.h"
#include "weights/model_source.h"

namespace fathom {

// The tensors of a checkpoint of `target`, each the source's tensor of that name: `target` is the source's
// own plan, or one whose layers bear the same names, such as a recursion unrolled. Matrices become
// `matrix_type` (kF32 or kBF16), the rest float. Views point into the source's files, or into `storage` where
// a type had to be changed. Errors: a tensor of the source is missing, has another shape, holds two values
// under two names, or belongs to no parameter.
Result<std::vector<TensorView>> converted_tensors(const ModelSource& source, const ModelPlan& target,
                                                  DType matrix_type,
                                                  std::vector<std::vector<uint8_t>>& storage);

}  // namespace fathom
