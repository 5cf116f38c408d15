#include "base/random.h"
#include "kernels/dropout/dropout.h"

namespace fathom::kernels {

void dropout_fwd_ref(const Dropout& args) {
  const double limit = double{args.share} * 0x1p32;
  for (int64_t i = 0; i < args.count; ++i) {
    const auto at = static_cast<uint64_t>(i);
    const bool kept = philox(args.seed, args.stream, at / 4)[at % 4] >= limit;
    args.y[i] = kept ? args.x[i] * (1.0F / (1.0F - args.share)) : 0.0F;
  }
}

}  // namespace fathom::kernels
