#include <algorithm>
#include <cmath>

#include "base/extents.h"
#include "train/adamw_levels.h"

namespace fathom::train {

void adamw_update(const AdamWTensor& tensor, const AdamWSettings& settings, int64_t t, Parallel& parallel) {
  if (tensor.grad == nullptr) return;
  const double correction1 = 1.0 - std::pow(settings.beta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(settings.beta2, static_cast<double>(t));
  const AdamWFactors factors = {
      .beta2 = static_cast<float>(settings.beta2),
      .one_minus_beta1 = 1.0F - static_cast<float>(settings.beta1),
      .one_minus_beta2 = 1.0F - static_cast<float>(settings.beta2),
      .keep = static_cast<float>(1.0 - tensor.learning_rate * tensor.weight_decay),
      .step_size = static_cast<float>(tensor.learning_rate / correction1),
      .root2 = static_cast<float>(std::sqrt(correction2)),
      .eps = static_cast<float>(settings.eps),
  };
  const auto range_fn = FATHOM_SIMD_SELECT(adamw_range);
  parallel.run(tensor.count, 4096,
               [&](int64_t begin, int64_t end, int) { range_fn(tensor, factors, begin, end); });
}

double global_norm(const std::vector<AdamWTensor>& tensors, Parallel& parallel) {
  constexpr int64_t kBlock = 16384;
  const auto squares_fn = FATHOM_SIMD_SELECT(sum_of_squares);
  double total = 0;
  std::vector<double> blocks;
  for (const AdamWTensor& tensor : tensors) {
    if (tensor.grad == nullptr) continue;
    blocks.assign(static_cast<size_t>(ceil_div(tensor.count, kBlock)), 0.0);
    parallel.run(static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t count = std::min(kBlock, tensor.count - b * kBlock);
        blocks[static_cast<size_t>(b)] = squares_fn(tensor.grad + b * kBlock, count);
      }
    });
    for (double block : blocks) total += block;
  }
  return std::sqrt(total);
}

double clip_scale(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace fathom::train
