// Between files and parameters, by the plan's name tables (plan/naming.h): the same table reads a published
// checkpoint, writes ours, and finds the gradients of a recorded case.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"
#include "weights/weights.h"

namespace fathom {

// Calls visit(parameter, first, values) for every run of values in the files, in the order of the model:
// values[0] is element `first` of the parameter. Each element comes once. Errors as read_parameters().
using ParameterVisit = std::function<void(int32_t parameter, int64_t first, std::span<const float> values)>;
Status visit_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                        const ParameterVisit& visit);

// Fills `parameter(p)` - float memory for all values of parameter p - from the files. A tensor may be stored
// under its name or any alias; stored more than once, the copies must be equal. Errors: a tensor is missing,
// has another shape, or belongs to no parameter.
Status read_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       const std::function<std::span<float>(int32_t parameter)>& parameter);

// Weights for the engine, in the types that plan/matrix_types.h gives them where matrices are `matrix_type`
// (kF32, kBF16 or kI8). What is stored in the wanted type and in one piece is used where it lies in the
// mapped file; the rest is converted into memory: int8 on disk may be read as float, and float as int8. A
// further error: a value that is not finite where int8 is wanted.
Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, DType matrix_type);

// The tensors of a checkpoint made of `parameter(p)`, in `type` where the parameter may be bfloat16 and float
// otherwise. `storage` owns the bytes the views point to.
std::vector<TensorView> checkpoint_views(
    const ModelPlan& plan, NamingScheme scheme, DType type,
    const std::function<std::span<const float>(int32_t parameter)>& parameter,
    std::vector<std::vector<uint8_t>>& storage);

}  // namespace fathom
