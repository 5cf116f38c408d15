#include "kernels/rms_norm/rms_norm_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

// Each row is summed in two interleaved accumulators: enough to hide the latency of fma, and one order per
// level.
void rms_norm_fwd_rows(const RmsNormFwd& args, int64_t begin, int64_t end) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * dim;
    float* y = args.y + r * dim;
    Vec even = {}, odd = {};
    int64_t d = 0;
    for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
      const Vec a = load(x + d), b = load(x + d + kLanes);
      even = fma(a, a, even);
      odd = fma(b, b, odd);
    }
    for (; d < dim; d += kLanes) {
      const Vec a = load_n(x + d, lanes_left(dim - d));
      even = fma(a, a, even);
    }
    const float rstd = 1.0F / __builtin_sqrtf(sum(even + odd) / (float)dim + args.eps);
    if (args.rstd != nullptr) args.rstd[r] = rstd;
    for (d = 0; d + kLanes <= dim; d += kLanes) store(y + d, load(x + d) * rstd * load(args.weight + d));
    if (d < dim) store_n(y + d, load_n(x + d, dim - d) * rstd * load_n(args.weight + d, dim - d), dim - d);
  }
}

void rms_norm_bwd_rows(const RmsNormBwd& args, int64_t begin, int64_t end, float* partial_weight) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * dim;
    const float* g = args.grad_y + r * dim;
    float* grad_x = args.grad_x + r * dim;
    const float rstd = args.rstd[r];
    Vec projection = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      projection = fma(load_n(g + d, n) * load_n(args.weight + d, n), load_n(x + d, n), projection);
    }
    const float pull = sum(projection) * rstd * rstd * rstd / (float)dim;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec gv = load_n(g + d, n), xv = load_n(x + d, n);
      store_n(partial_weight + d, fma(gv, xv * rstd, load_n(partial_weight + d, n)), n);
      store_n(grad_x + d, gv * load_n(args.weight + d, n) * rstd - xv * pull, n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
