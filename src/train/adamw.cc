#include "train/adamw.h"

#include <algorithm>
#include <cmath>

#include "base/extents.h"

namespace fathom::train {

void adamw_update(const AdamWTensor& tensor, const AdamWSettings& settings, int64_t t, Parallel& parallel) {
  if (tensor.grad == nullptr) return;
  const auto beta1 = static_cast<float>(settings.beta1), beta2 = static_cast<float>(settings.beta2);
  const auto keep = static_cast<float>(1.0 - tensor.learning_rate * tensor.weight_decay);
  const double correction1 = 1.0 - std::pow(settings.beta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(settings.beta2, static_cast<double>(t));
  const auto step_size = static_cast<float>(tensor.learning_rate / correction1);
  const auto root2 = static_cast<float>(std::sqrt(correction2));
  const auto eps = static_cast<float>(settings.eps);
  parallel.run(tensor.count, 4096, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = tensor.grad[i] * tensor.grad_scale;
      const float m = tensor.first_moment[i] + (g - tensor.first_moment[i]) * (1.0F - beta1);
      const float v = tensor.second_moment[i] * beta2 + (1.0F - beta2) * g * g;
      tensor.first_moment[i] = m;
      tensor.second_moment[i] = v;
      tensor.param[i] = tensor.param[i] * keep - step_size * (m / (std::sqrt(v) / root2 + eps));
    }
  });
}

double global_norm(const std::vector<AdamWTensor>& tensors, Parallel& parallel) {
  constexpr int64_t kBlock = 16384;
  double total = 0;
  std::vector<double> blocks;
  for (const AdamWTensor& tensor : tensors) {
    if (tensor.grad == nullptr) continue;
    blocks.assign(static_cast<size_t>(ceil_div(tensor.count, kBlock)), 0.0);
    parallel.run(static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; ++b) {
        double sum = 0;
        for (int64_t i = b * kBlock; i < std::min(tensor.count, (b + 1) * kBlock); ++i) {
          sum += double{tensor.grad[i]} * tensor.grad[i];
        }
        blocks[static_cast<size_t>(b)] = sum;
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
