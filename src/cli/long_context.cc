#include "cli/long_context.h"

#include <iostream>

namespace fathom::cli {

void say_if_beyond_longest(const std::string& command, const std::string& flag, int64_t tokens,
                           const ModelPlan& plan) {
  const int64_t longest = plan.dims.max_positions;
  if (tokens <= longest) return;
  std::cerr << "fathom " << command << ": " << flag << " " << tokens << " is beyond the model's longest, "
            << longest << "\n";
}

}  // namespace fathom::cli
