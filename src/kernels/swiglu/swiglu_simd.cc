#include "kernels/simd/vec.h"
#include "kernels/swiglu/swiglu_levels.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void swiglu_fwd_range(const SwigluFwd& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t n = lanes_left(end - i);
    const Vec gate = load_n(args.gate + i, n);
    store_n(args.y + i, load_n(args.up + i, n) * (gate * sigmoid(gate)), n);
  }
}

void swiglu_bwd_range(const SwigluBwd& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t n = lanes_left(end - i);
    const Vec gate = load_n(args.gate + i, n), up = load_n(args.up + i, n), grad = load_n(args.grad_y + i, n);
    const Vec s = sigmoid(gate);
    store_n(args.grad_gate + i, grad * up * (s * fma(gate, 1.0F - s, broadcast(1.0F))), n);
    store_n(args.grad_up + i, grad * (gate * s), n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
