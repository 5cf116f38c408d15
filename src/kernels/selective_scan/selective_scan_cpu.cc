#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/common/row_blocks.h"
#include "kernels/common/row_ranges.h"
#include "kernels/selective_scan/selective_scan_levels.h"

namespace fathom::kernels {

void selective_scan_fwd_cpu(const SelectiveScanFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.bc_stride >= args.state, "rows of b and c overlap");
  const auto channels_fn = FATHOM_SIMD_SELECT(selective_scan_fwd_channels);
  parallel.run(args.inner, 16, [&](int64_t begin, int64_t end, int) { channels_fn(args, begin, end); });
}

int64_t selective_scan_bwd_workspace(int64_t rows, int64_t inner, int64_t state, int /*threads*/) {
  return 2 * ceil_div(inner, kScanChannels) * rows * state;
}

void selective_scan_bwd_cpu(const SelectiveScanBwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.bc_stride >= args.state, "rows of b and c overlap");
  const auto channels_fn = FATHOM_SIMD_SELECT(selective_scan_bwd_channels);
  const int64_t blocks = ceil_div(args.inner, kScanChannels),
                size = rows_end(args.sequences, args.num_sequences) * args.state;
  float* const partial_b = args.workspace;
  float* const partial_c = args.workspace + blocks * size;
  // A worker takes several blocks through time together where there are enough of them for all.
  const int64_t most = kScanWidth / kScanChannels;
  const int64_t together = std::clamp(blocks / (2 * parallel.num_threads()), int64_t{1}, most);
  parallel.run(ceil_div(blocks, together), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task * together, count = std::min(together, blocks - block);
      std::memset(partial_b + block * size, 0, static_cast<size_t>(count * size) * sizeof(float));
      std::memset(partial_c + block * size, 0, static_cast<size_t>(count * size) * sizeof(float));
      channels_fn(args, block * kScanChannels, std::min(args.inner, (block + count) * kScanChannels), size,
                  partial_b + block * size, partial_c + block * size);
    }
  });
  reduce_row_blocks(partial_b, blocks, size, args.grad_b, parallel);
  reduce_row_blocks(partial_c, blocks, size, args.grad_c, parallel);
}

}  // namespace fathom::kernels
