// Sequences longer than those that a model was made for, which commands run and say.
#pragma once

#include <cstdint>
#include <string>

#include "plan/model_plan.h"

namespace fathom::cli {

// Says on stderr that `flag` of `command` asks for sequences of `tokens`, if that is more than the model's
// longest.
void say_if_beyond_longest(const std::string& command, const std::string& flag, int64_t tokens,
                           const ModelPlan& plan);

}  // namespace fathom::cli
