#include "kernels/round_bf16/round_bf16_levels.h"

namespace fathom::kernels {

void round_bf16_cpu(const RoundBf16& args, Parallel& parallel) {
  constexpr int64_t kGrain = 4096;
  const auto range_fn = FATHOM_SIMD_SELECT(round_bf16_range);
  parallel.run(args.count, kGrain, [&](int64_t begin, int64_t end, int) { range_fn(args, begin, end); });
}

}  // namespace fathom::kernels
