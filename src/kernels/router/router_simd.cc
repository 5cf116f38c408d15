#include "kernels/router/router_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void router_logit_rows(const RouterFwd& args, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * args.dim;
    for (int64_t i = 0; i < args.outputs; ++i) {
      const float* weight = args.weight + i * args.dim;
      Vec total = {};
      for (int64_t d = 0; d < args.dim; d += kLanes) {
        const int64_t n = lanes_left(args.dim - d);
        total = fma(load_n(x + d, n) / args.temperature, load_n(weight + d, n), total);
      }
      args.logits[r * args.outputs + i] = sum(total);
    }
  }
}

void router_bwd_rows(const RouterBwd& args, const float* slopes, int64_t begin, int64_t end,
                     float* partial_weight) {
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x + r * args.dim;
    float* grad_x = args.grad_x + r * args.dim;
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lanes_left(args.dim - d);
      Vec total = {};
      for (int64_t i = 0; i < args.outputs; ++i) {
        const Vec slope = broadcast(slopes[r * args.outputs + i]);
        float* partial = partial_weight + i * args.dim + d;
        total = fma(slope, load_n(args.weight + i * args.dim + d, n), total);
        store_n(partial, fma(slope, load_n(x + d, n), load_n(partial, n)), n);
      }
      store_n(grad_x + d, total, n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
