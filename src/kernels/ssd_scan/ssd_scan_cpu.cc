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

// Floats of a worker: the matrices of a block's chunk.
int64_t scratch_size(const SsdShape& shape) {
  const int64_t rows = kSsdChunk, states = shape.state, channels = shape.head_dim;
  return 5 * padded_size(rows, states) + padded_size(states, rows) + 5 * padded_size(rows, rows) +
         3 * padded_size(rows, channels) + padded_size(channels, rows) + padded_size(states, channels) +
         (1 + kSsdHeads) * padded_size(channels, states);
}

void find_rates(const SsdScanFwd& args, Parallel& parallel) {
  const auto rates_fn = FATHOM_SIMD_SELECT(ssd_scan_rates_rows);
  const RowRange rows = rows_spanned(args.sequences, args.num_sequences);
  parallel.run(rows.size(), kRowGrain, [&](int64_t begin, int64_t end, int) {
    rates_fn(args, rows.begin + begin, rows.begin + end);
  });
}

// Calls work(place, number of the block in its group, worker) for every block of heads, sequence by sequence.
template <class Sequence, class Work>
void for_each_block(const Sequence* sequences, int64_t num_sequences, const SsdShape& shape,
                    Parallel& parallel, const Work& work) {
  const int64_t blocks = blocks_of(shape), per_group = shape.heads / shape.groups,
                of_sequence = shape.groups * blocks;
  parallel.run(num_sequences * of_sequence, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sequence = task / of_sequence, group = task % of_sequence / blocks, block = task % blocks;
      const int64_t first = group * per_group + block * kSsdHeads;
      work(SsdPlace{.begin = first,
                    .end = std::min(first + kSsdHeads, (group + 1) * per_group),
                    .sequence = sequence,
                    .chunk = row_pieces(sequences, sequence, kSsdChunk)},
           block, worker);
    }
  });
}

}  // namespace

void ssd_scan_fwd_cpu(const SsdScanFwd& args, Parallel& parallel) {
  check(args.shape);
  if (args.num_sequences == 0) return;
  const auto channels_fn = FATHOM_SIMD_SELECT(ssd_scan_fwd_channels);
  find_rates(args, parallel);
  parallel.run(args.shape.inner(), kChannelGrain,
               [&](int64_t begin, int64_t end, int) { channels_fn(args, begin, end); });
}

int64_t ssd_scan_chunks_workspace(const SsdShape& shape, int threads) {
  return threads * scratch_size(shape);
}

void ssd_scan_fwd_chunks_cpu(const SsdScanFwd& args, Parallel& parallel) {
  check(args.shape);
  if (args.num_sequences == 0) return;
  const auto chunks_fn = FATHOM_SIMD_SELECT(ssd_scan_fwd_chunks);
  find_rates(args, parallel);
  for_each_block(args.sequences, args.num_sequences, args.shape, parallel,
                 [&](const SsdPlace& place, int64_t /*block*/, int worker) {
                   chunks_fn(args, place, args.workspace + worker * scratch_size(args.shape));
                 });
}

int64_t ssd_scan_bwd_workspace(int64_t rows, int64_t num_sequences, const SsdShape& shape, int threads) {
  return 2 * blocks_of(shape) * rows * shape.groups * shape.state + 2 * num_sequences * shape.heads +
         threads * scratch_size(shape);
}

void ssd_scan_bwd_cpu(const SsdScanBwd& args, Parallel& parallel) {
  const SsdShape& shape = args.shape;
  check(shape);
  const auto chunks_fn = FATHOM_SIMD_SELECT(ssd_scan_bwd_chunks);
  const auto terms_fn = FATHOM_SIMD_SELECT(ssd_scan_bwd_terms);
  const int64_t blocks = blocks_of(shape), rows = rows_end(args.sequences, args.num_sequences);
  const int64_t size = rows * shape.groups * shape.state;
  float* const b = args.workspace;
  float* const c = b + blocks * size;
  float* const rate = c + blocks * size;
  float* const skip = rate + args.num_sequences * shape.heads;
  float* const scratch = skip + args.num_sequences * shape.heads;
  // Rows of no sequence have no gradients.
  std::memset(args.workspace, 0, static_cast<size_t>(2 * blocks * size) * sizeof(float));
  for_each_block(args.sequences, args.num_sequences, shape, parallel,
                 [&](const SsdPlace& place, int64_t block, int worker) {
                   chunks_fn(args, place, {b + block * size, c + block * size, rate, skip},
                             scratch + worker * scratch_size(shape));
                 });
  reduce_row_blocks(b, blocks, size, args.grad_b, parallel);
  reduce_row_blocks(c, blocks, size, args.grad_c, parallel);
  parallel.run(shape.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t head = begin; head < end; ++head) terms_fn(args, head, {.rate = rate, .skip = skip});
  });
}

}  // namespace fathom::kernels
