// Tensors whose bytes are made while they are written, so that they are never all in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom {

// Values that are made, read or converted at a time: enough to share out, few enough to be little memory.
constexpr int64_t kValuesAtATime = int64_t{1} << 20;

// The float tensors of a checkpoint made of `parameter(p)`. A tensor that is one parameter is handed on where
// the parameter lies; others are put together kValuesAtATime values at a time, or one row if it has more.
StreamedTensors checkpoint_stream(const ModelPlan& plan, NamingScheme scheme,
                                  std::function<std::span<const float>(int32_t parameter)> parameter);

}  // namespace fathom
