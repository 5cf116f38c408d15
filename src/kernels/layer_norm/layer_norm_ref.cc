#include <cmath>

#include "kernels/layer_norm/layer_norm.h"

namespace fathom::kernels {

void layer_norm_fwd_ref(const LayerNormFwd& args) {
  const auto count = static_cast<double>(args.dim);
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.dim;
    float* y = args.y + r * args.dim;
    double mean = 0, variance = 0;
    for (int64_t d = 0; d < args.dim; ++d) mean += x[d] / count;
    for (int64_t d = 0; d < args.dim; ++d) variance += (x[d] - mean) * (x[d] - mean) / count;
    const double rstd = 1.0 / std::sqrt(variance + args.eps);
    for (int64_t d = 0; d < args.dim; ++d) {
      y[d] = static_cast<float>((x[d] - mean) * rstd * args.weight[d] + args.bias[d]);
    }
    if (args.mean != nullptr) args.mean[r] = static_cast<float>(mean);
    if (args.rstd != nullptr) args.rstd[r] = static_cast<float>(rstd);
  }
}

void layer_norm_bwd_ref(const LayerNormBwd& args) {
  const int64_t dim = args.dim;
  for (int64_t d = 0; d < dim; ++d) {
    double weight = 0, bias = 0;
    for (int64_t r = 0; r < args.rows; ++r) {
      const double g = args.grad_y[r * dim + d];
      weight += g * (double{args.x[r * dim + d]} - args.mean[r]) * args.rstd[r];
      bias += g;
    }
    args.grad_weight[d] = static_cast<float>(weight);
    args.grad_bias[d] = static_cast<float>(bias);
  }
  for (int64_t r = 0; r < args.rows; ++r) {
    const double mean = args.mean[r], rstd = args.rstd[r];
    double sum = 0, projection = 0;
    for (int64_t d = 0; d < dim; ++d) {
      const double g = double{args.grad_y[r * dim + d]} * args.weight[d];
      sum += g;
      projection += g * (args.x[r * dim + d] - mean) * rstd;
    }
    for (int64_t d = 0; d < dim; ++d) {
      const double g = double{args.grad_y[r * dim + d]} * args.weight[d];
      const double normed = (args.x[r * dim + d] - mean) * rstd;
      args.grad_x[r * dim + d] =
          static_cast<float>(rstd * (g - (sum + normed * projection) / static_cast<double>(dim)));
    }
  }
}

}  // namespace fathom::kernels
