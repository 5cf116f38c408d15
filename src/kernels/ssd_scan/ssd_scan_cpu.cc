#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/common/row_blocks.h"
#include "kernels/common/row_ranges.h"
#include "kernels/ssd_scan/ssd_scan_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kChannelGrain = 16;  // a multiple of every vector width
constexpr int64_t kRowGrain = 64;

void check(const SsdShape& shape) {
  FATHOM_CHECK(shape.heads % shape.groups == 0, "every group of b and c has the same number of heads");
  FATHOM_CHECK(shape.x_stride >= shape.inner() && shape.x_stride >= shape.groups * shape.state,
               "rows of x, b or c overlap");
}

// Blocks of heads that each group is cut into.
int64_t blocks_of(const SsdShape& shape) { return ceil_div(shape.heads / shape.groups, kSsdHeads); }

}  // namespace

void ssd_scan_fwd_cpu(const SsdScanFwd& args, Parallel& parallel) {
  check(args.shape);
  if (args.num_sequences == 0) return;
  const auto rates_fn = FATHOM_SIMD_SELECT(ssd_scan_rates_rows);
  const auto channels_fn = FATHOM_SIMD_SELECT(ssd_scan_fwd_channels);
  const RowRange rows = rows_spanned(args.sequences, args.num_sequences);
  parallel.run(rows.size(), kRowGrain, [&](int64_t begin, int64_t end, int) {
    rates_fn(args, rows.begin + begin, rows.begin + end);
  });
  parallel.run(args.shape.inner(), kChannelGrain,
               [&](int64_t begin, int64_t end, int) { channels_fn(args, begin, end); });
}

int64_t ssd_scan_bwd_workspace(int64_t rows, const SsdShape& shape) {
  return 2 * blocks_of(shape) * rows * shape.groups * shape.state;
}

void ssd_scan_bwd_cpu(const SsdScanBwd& args, Parallel& parallel) {
  const SsdShape& shape = args.shape;
  check(shape);
  const auto heads_fn = FATHOM_SIMD_SELECT(ssd_scan_bwd_heads);
  const int64_t blocks = blocks_of(shape), per_group = shape.heads / shape.groups,
                rows = rows_end(args.sequences, args.num_sequences);
  const int64_t width = shape.groups * shape.state, size = rows * width;
  float* const partial_b = args.workspace;
  float* const partial_c = args.workspace + blocks * size;
  parallel.run(shape.groups * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task / blocks, block = task % blocks;
      for (float* partial : {partial_b, partial_c}) {
        for (int64_t row = 0; row < rows; ++row) {
          std::memset(partial + block * size + row * width + group * shape.state, 0,
                      static_cast<size_t>(shape.state) * sizeof(float));
        }
      }
      const int64_t first = group * per_group + block * kSsdHeads;
      heads_fn(args, first, std::min(first + kSsdHeads, (group + 1) * per_group), partial_b + block * size,
               partial_c + block * size);
    }
  });
  reduce_row_blocks(partial_b, blocks, size, args.grad_b, parallel);
  reduce_row_blocks(partial_c, blocks, size, args.grad_c, parallel);
}

}  // namespace fathom::kernels
