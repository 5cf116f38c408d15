#include <cmath>

#include "kernels/swiglu/swiglu.h"

namespace fathom::kernels {

void swiglu_fwd_ref(const SwigluFwd& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    const double gate = args.gate[i];
    args.y[i] = static_cast<float>(args.up[i] * gate / (1.0 + std::exp(-gate)));
  }
}

void swiglu_bwd_ref(const SwigluBwd& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    const double gate = args.gate[i], up = args.up[i], grad = args.grad_y[i];
    const double sigmoid = 1.0 / (1.0 + std::exp(-gate));
    args.grad_gate[i] = static_cast<float>(grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)));
    args.grad_up[i] = static_cast<float>(grad * gate * sigmoid);
  }
}

}  // namespace fathom::kernels
