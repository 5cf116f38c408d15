#include "kernels/router/router_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void router_logit_rows(const RouterFwd& args, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * args.dim;
    Vec total = {};
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lanes_left(args.dim - d);
      total = fma(load_n(x + d, n) / args.temperature, load_n(args.weight + d, n), total);
    }
    args.logits[r] = sum(total);
  }
}

void router_bwd_rows(const RouterBwd& args, const float* slopes, int64_t begin, int64_t end,
                     float* partial_weight) {
  for (int64_t r = begin; r < end; ++r) {
    const Vec slope = broadcast(slopes[r]);
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lanes_left(args.dim - d);
      store_n(args.grad_x + r * args.dim + d, slope * load_n(args.weight + d, n), n);
      store_n(partial_weight + d,
              fma(slope, load_n(args.x + r * args.dim + d, n), load_n(partial_weight + d, n)), n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
