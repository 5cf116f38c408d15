#include "base/check.h"
#include "kernels/dropout/dropout_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kGrain = 4096;  // a multiple of what any level draws at once

}  // namespace

void dropout_fwd_cpu(const Dropout& args, Parallel& parallel) {
  FATHOM_CHECK(args.share >= 0 && args.share < 1, "a share of dropout lies in [0, 1)");
  const auto range_fn = FATHOM_SIMD_SELECT(dropout_range);
  const int64_t blocks = (args.count + kGrain - 1) / kGrain;
  parallel.run(blocks, 1, [&](int64_t begin, int64_t end, int) {
    range_fn(args, begin * kGrain, end * kGrain < args.count ? end * kGrain : args.count);
  });
}

}  // namespace fathom::kernels
