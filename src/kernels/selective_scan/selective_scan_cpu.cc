#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/common/row_blocks.h"
#include "kernels/common/row_ranges.h"
#include "kernels/selective_scan/selective_scan_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kPiece = 16;  // channels; a multiple of every vector width

// Sums over rows are kept by groups of sequences, as many for as many sequences whoever computes them.
constexpr int64_t kMostGroups = 16;
int64_t backward_groups(int64_t num_sequences) { return std::min(num_sequences, kMostGroups); }

// The sequences of group g of `groups`, with what lies in their order.
template <class Args>
Args group_of(const Args& args, int64_t g, int64_t groups) {
  const int64_t first = args.num_sequences * g / groups, last = args.num_sequences * (g + 1) / groups;
  Args part = args;
  part.sequences += first;
  part.num_sequences = last - first;
  if (part.checkpoints != nullptr)
    part.checkpoints += row_pieces(args.sequences, first, kScanChunk) * args.inner * args.state;
  return part;
}

// Floats of a group's grad_a_log, grad_dt_bias and grad_d.
int64_t sums_size(int64_t inner, int64_t state) { return inner * (state + 2); }

}  // namespace

// Workers share out the channels, and sequences as well where channels alone are too few.
void selective_scan_fwd_cpu(const SelectiveScanFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.bc_stride >= args.state, "rows of b and c overlap");
  if (args.num_sequences == 0) return;
  const auto channels_fn = FATHOM_SIMD_SELECT(selective_scan_fwd_channels);
  const int64_t pieces = ceil_div(args.inner, kPiece);
  const int64_t groups =
      std::clamp(ceil_div(4 * parallel.num_threads(), pieces), int64_t{1}, args.num_sequences);
  parallel.run(groups * pieces, 1, [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t piece = begin % pieces, count = std::min(pieces - piece, end - begin);
      channels_fn(group_of(args, begin / pieces, groups), piece * kPiece,
                  std::min(args.inner, (piece + count) * kPiece));
      begin += count;
    }
  });
}

int64_t selective_scan_bwd_workspace(int64_t rows, int64_t num_sequences, int64_t inner, int64_t state) {
  return 2 * ceil_div(inner, kScanChannels) * rows * state +
         backward_groups(num_sequences) * sums_size(inner, state);
}

void selective_scan_bwd_cpu(const SelectiveScanBwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.bc_stride >= args.state, "rows of b and c overlap");
  const auto channels_fn = FATHOM_SIMD_SELECT(selective_scan_bwd_channels);
  const int64_t blocks = ceil_div(args.inner, kScanChannels),
                size = rows_end(args.sequences, args.num_sequences) * args.state,
                groups = backward_groups(args.num_sequences), cells = args.inner * args.state;
  float* const partial_b = args.workspace;
  float* const partial_c = partial_b + blocks * size;
  float* const a_log = partial_c + blocks * size;  // [groups, inner, state]
  float* const bias = a_log + groups * cells;      // [groups, inner]
  float* const skip = bias + groups * args.inner;  // [groups, inner]
  parallel.run(2 * blocks, 1, [&](int64_t begin, int64_t end, int) {
    std::memset(partial_b + begin * size, 0, static_cast<size_t>((end - begin) * size) * sizeof(float));
  });
  // A worker takes several blocks through time together where there are enough of them for all.
  const int64_t most = kScanWidth / kScanChannels;
  const int64_t together = std::clamp(groups * blocks / (2 * parallel.num_threads()), int64_t{1}, most);
  const int64_t tasks = ceil_div(blocks, together);
  parallel.run(groups * tasks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task / tasks, block = task % tasks * together,
                    count = std::min(together, blocks - block);
      SelectiveScanBwd part = group_of(args, group, groups);
      part.grad_a_log = a_log + group * cells;
      part.grad_dt_bias = bias + group * args.inner;
      part.grad_d = skip + group * args.inner;
      channels_fn(part, block * kScanChannels, std::min(args.inner, (block + count) * kScanChannels), size,
                  partial_b + block * size, partial_c + block * size);
    }
  });
  reduce_row_blocks(partial_b, blocks, size, args.grad_b, parallel);
  reduce_row_blocks(partial_c, blocks, size, args.grad_c, parallel);
  reduce_row_blocks(a_log, groups, cells, args.grad_a_log, parallel);
  reduce_row_blocks(bias, groups, args.inner, args.grad_dt_bias, parallel);
  reduce_row_blocks(skip, groups, args.inner, args.grad_d, parallel);
}

}  // namespace fathom::kernels
