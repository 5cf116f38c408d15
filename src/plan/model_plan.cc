#include "plan/model_plan.h"

namespace fathom {

int64_t elements_of(const Param& param) {
  int64_t product = 1;
  for (int64_t extent : param.shape) product *= extent;
  return product;
}

BlockKind Layer::kind() const {
  if (const auto* attention = std::get_if<Attention>(&mixer)) {
    return attention->cross ? BlockKind::kCrossAttention : BlockKind::kAttention;
  }
  return std::holds_alternative<Mamba>(mixer) ? BlockKind::kMamba : BlockKind::kGatedMemory;
}

int64_t ModelPlan::num_unrolled_layers() const {
  int64_t total = 0;
  for (const Segment& segment : segments)
    total += segment.repeat * static_cast<int64_t>(segment.layers.size());
  return total;
}

}  // namespace fathom
