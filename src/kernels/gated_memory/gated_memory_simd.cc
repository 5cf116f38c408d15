#include "kernels/gated_memory/gated_memory_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void gated_memory_fwd_rows(const GatedMemoryFwd& args, int64_t begin, int64_t end) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* memory = args.memory + r * dim;
    const float* gate = args.gate + r * dim;
    float* y = args.y + r * dim;
    Vec squares = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec g = load_n(gate + d, n);
      const Vec gated = load_n(memory + d, n) * (g * sigmoid(g));
      squares = fma(gated, gated, squares);
      store_n(y + d, gated, n);
    }
    if (args.weight == nullptr) continue;
    const float rstd = 1.0F / __builtin_sqrtf(sum(squares) / (float)dim + args.eps);
    if (args.rstd != nullptr) args.rstd[r] = rstd;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      store_n(y + d, load_n(y + d, n) * rstd * load_n(args.weight + d, n), n);
    }
  }
}

void gated_memory_bwd_rows(const GatedMemoryBwd& args, int64_t begin, int64_t end, float* partial_weight) {
  const int64_t dim = args.dim;
  for (int64_t r = begin; r < end; ++r) {
    const float* memory = args.memory + r * dim;
    const float* gate = args.gate + r * dim;
    const float* grad_y = args.grad_y + r * dim;
    const float rstd = args.weight != nullptr ? args.rstd[r] : 1.0F;
    float pull = 0.0F;
    if (args.weight != nullptr) {
      Vec projection = {};
      for (int64_t d = 0; d < dim; d += kLanes) {
        const int64_t n = lanes_left(dim - d);
        const Vec g = load_n(gate + d, n), grad = load_n(grad_y + d, n);
        const Vec gated = load_n(memory + d, n) * (g * sigmoid(g));
        projection = fma(grad * load_n(args.weight + d, n), gated, projection);
        store_n(partial_weight + d, fma(grad, gated * rstd, load_n(partial_weight + d, n)), n);
      }
      pull = sum(projection) * rstd * rstd * rstd / (float)dim;
    }
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec m = load_n(memory + d, n), g = load_n(gate + d, n);
      const Vec s = sigmoid(g), activated = g * s;
      Vec grad = load_n(grad_y + d, n);
      if (args.weight != nullptr) grad = grad * load_n(args.weight + d, n) * rstd - m * activated * pull;
      store_n(args.grad_memory + r * dim + d, grad * activated, n);
      store_n(args.grad_gate + r * dim + d, grad * m * (s * fma(g, 1.0F - s, broadcast(1.0F))), n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
