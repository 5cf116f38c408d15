#include "kernels/round_bf16/round_bf16_levels.h"
#include "kernels/simd/rounding.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

void round_bf16_range(const RoundBf16& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t n = lanes_left(end - i);
    store_n(args.x + i, round_bf16(load_n(args.x + i, n)), n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
