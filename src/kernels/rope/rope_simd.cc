#include "kernels/rope/rope_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void rope_fwd_rows(const RopeFwd& args, int64_t begin, int64_t end) {
  const int64_t half = args.head_dim / 2;
  const Vec sign = broadcast(args.inverse ? -1.0F : 1.0F);
  for (int64_t r = begin; r < end; ++r) {
    const float* cos = args.cos + args.positions[r] * half;
    const float* sin = args.sin + args.positions[r] * half;
    for (int64_t h = 0; h < args.heads; ++h) {
      float* x = args.x + r * args.x_stride + h * args.head_dim;
      for (int64_t i = 0; i < half; i += kLanes) {
        const int64_t n = lanes_left(half - i);
        const Vec c = load_n(cos + i, n), s = load_n(sin + i, n) * sign;
        const Vec a = load_n(x + i, n), b = load_n(x + half + i, n);
        store_n(x + i, a * c - b * s, n);
        store_n(x + half + i, b * c + a * s, n);
      }
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
