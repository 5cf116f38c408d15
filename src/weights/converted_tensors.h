// A checkpoint made of another one's tensors, which are converted while they are written.
#pragma once

#include "base/dtype.h"
#include "base/result.h"
#include "plan/model_plan.h"
#include "weights/model_source.h"
#include "weights/streamed_tensors.h"

namespace fathom {

// The tensors of a checkpoint of `target`, each the source's tensor of that name: `target` is the source's
// own plan, or one whose layers bear the same names, such as a recursion unrolled. Matrices become
// `matrix_type` (kF32 or kBF16), the rest float. What keeps its type is handed on where it lies in the
// source's files; the rest is converted kValuesAtATime values at a time, or one row if it has more. The
// source outlives what is returned. Errors: a tensor of the source is missing, has another shape, holds two
// values under two names, or belongs to no parameter.
Result<StreamedTensors> converted_tensors(const ModelSource& source, const ModelPlan& target,
                                          DType matrix_type);

}  // namespace fathom
