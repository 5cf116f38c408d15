#include <algorithm>
#include <cstring>

#include "base/extents.h"
#include "kernels/common/row_blocks.h"
#include "kernels/common/row_ranges.h"
#include "kernels/gated_delta/gated_delta_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kRowGrain = 16;

int64_t blocks_of(const DeltaShape& shape) { return ceil_div(shape.value_dim, kDeltaColumns); }

// Floats of a worker going back: the states of one chunk's rows, a gradient of one, the errors.
int64_t scratch_size(const DeltaShape& shape) {
  return ((kDeltaChunk + 2) * shape.key_dim + kDeltaChunk) * kDeltaLanes;
}

// Floats of one block's DeltaPartials.
int64_t partials_size(int64_t rows, const DeltaShape& shape) {
  return rows * (2 * shape.keys() + 2 * shape.heads);
}

}  // namespace

int64_t gated_delta_fwd_workspace(const DeltaShape& shape, int threads) {
  return threads * shape.key_dim * kDeltaLanes;
}

void gated_delta_fwd_cpu(const GatedDeltaFwd& args, Parallel& parallel) {
  if (args.num_sequences == 0) return;
  const auto terms_fn = FATHOM_SIMD_SELECT(gated_delta_terms_rows);
  const auto columns_fn = FATHOM_SIMD_SELECT(gated_delta_fwd_columns);
  const RowRange rows = rows_spanned(args.sequences, args.num_sequences);
  parallel.run(rows.size(), kRowGrain, [&](int64_t begin, int64_t end, int) {
    terms_fn(args, rows.begin + begin, rows.begin + end);
  });
  const int64_t tasks = ceil_div(args.shape.value_dim, kDeltaLanes);  // of a head
  parallel.run(args.shape.heads * tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % tasks * kDeltaLanes;
      columns_fn(args, task / tasks, first, std::min(first + kDeltaLanes, args.shape.value_dim),
                 args.workspace + worker * args.shape.key_dim * kDeltaLanes);
    }
  });
}

int64_t gated_delta_bwd_workspace(int64_t rows, const DeltaShape& shape, int threads) {
  return blocks_of(shape) * partials_size(rows, shape) + threads * scratch_size(shape);
}

void gated_delta_bwd_cpu(const GatedDeltaBwd& args, Parallel& parallel) {
  const auto columns_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_columns);
  const auto norms_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_norms);
  const auto terms_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_terms);
  const DeltaShape& shape = args.shape;
  const int64_t rows = rows_end(args.sequences, args.num_sequences), blocks = blocks_of(shape);
  const int64_t keys = rows * shape.keys(), ones = rows * shape.heads;
  // All blocks of one partial lie one after another.
  float* const q = args.workspace;
  float* const k = q + blocks * keys;
  float* const alpha = k + blocks * keys;
  float* const beta = alpha + blocks * ones;
  float* const scratch = beta + blocks * ones;
  std::memset(args.workspace, 0, static_cast<size_t>(blocks * partials_size(rows, shape)) * sizeof(float));
  parallel.run(shape.heads * blocks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task % blocks, first = block * kDeltaColumns;
      columns_fn(args, task / blocks, first, std::min(first + kDeltaColumns, shape.value_dim),
                 {q + block * keys, k + block * keys, alpha + block * ones, beta + block * ones},
                 scratch + worker * scratch_size(shape));
    }
  });
  reduce_row_blocks(q, blocks, keys, args.grad_q, parallel);
  reduce_row_blocks(k, blocks, keys, args.grad_k, parallel);
  reduce_row_blocks(alpha, blocks, ones, args.grad_dt, parallel);
  reduce_row_blocks(beta, blocks, ones, args.grad_b, parallel);
  parallel.run(rows, kRowGrain, [&](int64_t begin, int64_t end, int) { norms_fn(args, begin, end); });
  parallel.run(shape.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t head = begin; head < end; ++head) terms_fn(args, head);
  });
}

}  // namespace fathom::kernels
