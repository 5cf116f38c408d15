#include "kernels/scale_columns/scale_columns_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void scale_columns_fwd_rows(const ScaleColumnsFwd& args, int64_t begin, int64_t end) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d), i = r * dim + d;
      const Vec x = load_n(args.x + i, n), scale = load_n(args.scale + d, n);
      store_n(args.y + i, args.base != nullptr ? fma(x, scale, load_n(args.base + i, n)) : x * scale, n);
    }
  }
}

void scale_columns_bwd_rows(const ScaleColumnsBwd& args, int64_t begin, int64_t end, float* partial_scale) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d), i = r * dim + d;
      const Vec grad = load_n(args.grad_y + i, n);
      store_n(partial_scale + d, fma(grad, load_n(args.x + i, n), load_n(partial_scale + d, n)), n);
      store_n(args.grad_x + i, grad * load_n(args.scale + d, n), n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
