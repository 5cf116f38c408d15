#include "kernels/dropout/dropout_levels.h"
#include "kernels/simd/philox.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void dropout_range(const Dropout& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += 4 * kLanes) {
    float factor[4 * kLanes];
    keep_factors(philox_from(args.seed, args.stream, (uint64_t)i / 4), args.share, factor);
    for (int64_t at = i; at < end && at < i + 4 * kLanes; at += kLanes) {
      const int64_t n = lanes_left(end - at);
      const Vec by = load(factor + (at - i));
      // Not a product: nothing comes of what is dropped, whatever it is.
      store_n(args.y + at, select(by == 0.0F, Vec{}, load_n(args.x + at, n) * by), n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
