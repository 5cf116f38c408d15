#include "kernels/swiglu/swiglu_levels.h"

namespace fathom::kernels {

namespace {
constexpr int64_t kGrain =
    4096;  // a multiple of every vector width, so that lanes fall the same way for any split
}

void swiglu_fwd_cpu(const SwigluFwd& args, Parallel& parallel) {
  const auto range_fn = FATHOM_SIMD_SELECT(swiglu_fwd_range);
  parallel.run(args.count, kGrain, [&](int64_t begin, int64_t end, int) { range_fn(args, begin, end); });
}

void swiglu_bwd_cpu(const SwigluBwd& args, Parallel& parallel) {
  const auto range_fn = FATHOM_SIMD_SELECT(swiglu_bwd_range);
  parallel.run(args.count, kGrain, [&](int64_t begin, int64_t end, int) { range_fn(args, begin, end); });
}

}  // namespace fathom::kernels
