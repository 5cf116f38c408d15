#include "kernels/layer_norm/layer_norm_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

// The mean first, then the squares around it: stable whatever the mean.
void layer_norm_fwd_rows(const LayerNormFwd& args, int64_t begin, int64_t end) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * dim;
    float* y = args.y + r * dim;
    Vec total = {};
    for (int64_t d = 0; d < dim; d += kLanes) total = total + load_n(x + d, lanes_left(dim - d));
    const float mean = sum(total) / (float)dim;
    Vec squares = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec centred = select(first_lanes(n), load_n(x + d, n) - mean, Vec{});
      squares = fma(centred, centred, squares);
    }
    const float rstd = 1.0F / __builtin_sqrtf(sum(squares) / (float)dim + args.eps);
    if (args.mean != nullptr) args.mean[r] = mean;
    if (args.rstd != nullptr) args.rstd[r] = rstd;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec normed = (load_n(x + d, n) - mean) * rstd;
      store_n(y + d, fma(normed, load_n(args.weight + d, n), load_n(args.bias + d, n)), n);
    }
  }
}

void layer_norm_bwd_rows(const LayerNormBwd& args, int64_t begin, int64_t end, float* partial_weight,
                         float* partial_bias) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * dim;
    const float* grad_y = args.grad_y + r * dim;
    float* grad_x = args.grad_x + r * dim;
    const float mean = args.mean[r], rstd = args.rstd[r];
    Vec sums = {}, projections = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec g = load_n(grad_y + d, n) * load_n(args.weight + d, n);
      sums = sums + g;
      projections = fma(g, (load_n(x + d, n) - mean) * rstd, projections);
    }
    const float mean_grad = sum(sums) / (float)dim;
    const float mean_projection = sum(projections) / (float)dim;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec g = load_n(grad_y + d, n);
      const Vec normed = (load_n(x + d, n) - mean) * rstd;
      store_n(partial_weight + d, fma(g, normed, load_n(partial_weight + d, n)), n);
      store_n(partial_bias + d, load_n(partial_bias + d, n) + g, n);
      store_n(grad_x + d, (g * load_n(args.weight + d, n) - mean_grad - normed * mean_projection) * rstd, n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
