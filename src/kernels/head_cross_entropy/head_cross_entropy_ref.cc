#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/head_cross_entropy/head_cross_entropy.h"

namespace fathom::kernels {

void head_cross_entropy_ref(const HeadCrossEntropy& args, HeadProducts& products) {
  double loss = 0;
  std::vector<float> logits(static_cast<size_t>(args.vocab));
  for (int64_t r = 0; r < args.rows; ++r) {
    const int32_t label = args.labels[r];
    FATHOM_CHECK(label == kIgnoredLabel || (label >= 0 && label < args.vocab),
                 "label " + std::to_string(label));
    const float* hidden = args.hidden + r * args.dim;
    products.logits(hidden, 1, logits.data());
    const double largest = *std::max_element(logits.begin(), logits.end());
    double total = 0, mean = 0;
    for (float logit : logits) {
      total += std::exp(logit - largest);
      mean += logit / static_cast<double>(args.vocab);
    }
    const double lse = largest + std::log(total);
    const bool counted = label != kIgnoredLabel;
    const double smoothing = args.label_smoothing;
    const double nll =
        counted ? (1 - smoothing) * (lse - logits[static_cast<size_t>(label)]) + smoothing * (lse - mean)
                : 0.0;
    loss += args.loss_scale * nll;
    if (args.nll != nullptr) args.nll[r] = static_cast<float>(nll);
    if (args.grad_hidden == nullptr) continue;
    for (int64_t v = 0; v < args.vocab; ++v) {
      const double target = (v == label ? 1 - smoothing : 0.0) + smoothing / static_cast<double>(args.vocab);
      const double p = std::exp(logits[static_cast<size_t>(v)] - lse);
      logits[static_cast<size_t>(v)] = counted ? static_cast<float>(args.loss_scale * (p - target)) : 0.0F;
    }
    products.grad_hidden(logits.data(), 1, args.grad_hidden + r * args.dim);
    products.add_grad_weight(logits.data(), hidden, 1);
  }
  *args.loss = loss;
}

void PlainHeadProducts::logits(const float* hidden, int64_t rows, float* logits) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t v = 0; v < vocab_; ++v) {
      double total = 0;
      for (int64_t d = 0; d < dim_; ++d) total += double{hidden[r * dim_ + d]} * weight_[v * dim_ + d];
      logits[r * vocab_ + v] = static_cast<float>(total);
    }
  }
}

void PlainHeadProducts::grad_hidden(const float* grad_logits, int64_t rows, float* grad_hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = 0; d < dim_; ++d) {
      double total = 0;
      for (int64_t v = 0; v < vocab_; ++v)
        total += double{grad_logits[r * vocab_ + v]} * weight_[v * dim_ + d];
      grad_hidden[r * dim_ + d] = static_cast<float>(total);
    }
  }
}

void PlainHeadProducts::add_grad_weight(const float* grad_logits, const float* hidden, int64_t rows) {
  for (int64_t v = 0; v < vocab_; ++v) {
    for (int64_t d = 0; d < dim_; ++d) {
      double total = grad_weight_[v * dim_ + d];
      for (int64_t r = 0; r < rows; ++r) total += double{grad_logits[r * vocab_ + v]} * hidden[r * dim_ + d];
      grad_weight_[v * dim_ + d] = static_cast<float>(total);
    }
  }
}

}  // namespace fathom::kernels
