#include <cmath>
#include <numbers>

#include "kernels/gelu/gelu.h"

namespace fathom::kernels {

namespace {

double below(double u) { return 0.5 * std::erfc(-u / std::numbers::sqrt2); }  // Phi

}  // namespace

void gelu_fwd_ref(const GeluFwd& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    const double u = double{args.scale} * args.x[i];
    args.y[i] = static_cast<float>(u * below(u));
  }
}

void gelu_bwd_ref(const GeluBwd& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    const double u = double{args.scale} * args.x[i];
    const double density = std::exp(-0.5 * u * u) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    args.grad_x[i] = static_cast<float>(args.grad_y[i] * args.scale * (below(u) + u * density));
  }
}

}  // namespace fathom::kernels
