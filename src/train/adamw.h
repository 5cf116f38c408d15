// AdamW (Loshchilov and Hutter 2019, algorithm 2) in the form of PyTorch: bias correction, decoupled decay.
//
//   p <- p (1 - lr decay)
//   m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)        t counts updates from 1
//
// Works on plain float arrays, element by element: the result does not depend on threads.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace fathom::train {

struct AdamWSettings {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
};

// One parameter tensor and its moments, all of `count` floats, owned by the caller.
struct AdamWTensor {
  float* param = nullptr;
  const float* grad = nullptr;  // null: no gradient in this step; the tensor and its moments stay as they are
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  int64_t count = 0;
  double learning_rate = 0;
  double weight_decay = 0;
  float grad_scale = 1;  // multiplies the gradient: clipping
};

// Update number `t` (from 1) of one tensor.
void adamw_update(const AdamWTensor& tensor, const AdamWSettings& settings, int64_t t, Parallel& parallel);

// Square root of the sum of squares over all gradients, in double over fixed blocks added in order.
double global_norm(const std::vector<AdamWTensor>& tensors, Parallel& parallel);

// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 when max_norm is 0.
double clip_scale(double norm, double max_norm);

}  // namespace fathom::train
