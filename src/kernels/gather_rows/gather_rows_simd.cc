#include "kernels/gather_rows/gather_rows_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void scatter_add_range(const ScatterAddRows& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float* x = args.x + i * args.dim;
    float* y = args.y + args.index[i] * args.dim;
    const Vec weight = broadcast(args.weights != nullptr ? args.weights[i] : 1.0F);
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lanes_left(args.dim - d);
      store_n(y + d, fma(weight, load_n(x + d, n), load_n(y + d, n)), n);
    }
  }
}

void scatter_add_bwd_range(const ScatterAddRowsBwd& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float* x = args.x + i * args.dim;
    const float* grad_y = args.grad_y + args.index[i] * args.dim;
    float* grad_x = args.grad_x + i * args.dim;
    const Vec weight = broadcast(args.weights != nullptr ? args.weights[i] : 1.0F);
    Vec dot = {};
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lanes_left(args.dim - d);
      const Vec grad = load_n(grad_y + d, n);
      dot = fma(grad, load_n(x + d, n), dot);
      store_n(grad_x + d, weight * grad, n);
    }
    if (args.grad_weights != nullptr) args.grad_weights[i] = sum(dot);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
