#include <cmath>

#include "kernels/rms_norm/rms_norm.h"

namespace fathom::kernels {

void rms_norm_fwd_ref(const RmsNormFwd& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.dim;
    float* y = args.y + r * args.dim;
    double squares = 0;
    for (int64_t d = 0; d < args.dim; ++d) squares += double{x[d]} * x[d];
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(args.dim) + args.eps);
    for (int64_t d = 0; d < args.dim; ++d) y[d] = static_cast<float>(x[d] * rstd * args.weight[d]);
    if (args.rstd != nullptr) args.rstd[r] = static_cast<float>(rstd);
  }
}

void rms_norm_bwd_ref(const RmsNormBwd& args) {
  for (int64_t d = 0; d < args.dim; ++d) {
    double total = 0;
    for (int64_t r = 0; r < args.rows; ++r) {
      total += double{args.grad_y[r * args.dim + d]} * args.x[r * args.dim + d] * args.rstd[r];
    }
    args.grad_weight[d] = static_cast<float>(total);
  }
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.dim;
    const float* g = args.grad_y + r * args.dim;
    const double rstd = args.rstd[r];
    double projection = 0;
    for (int64_t d = 0; d < args.dim; ++d) projection += double{g[d]} * args.weight[d] * x[d];
    const double pull = projection * rstd * rstd * rstd / static_cast<double>(args.dim);
    for (int64_t d = 0; d < args.dim; ++d) {
      args.grad_x[r * args.dim + d] = static_cast<float>(double{g[d]} * args.weight[d] * rstd - x[d] * pull);
    }
  }
}

}  // namespace fathom::kernels
