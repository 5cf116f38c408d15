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

// Floats of a worker: the matrices of a block's chunk, which are more than those of a chunk's scores.
int64_t scratch_size(const DeltaShape& shape) {
  const int64_t keys = shape.key_dim, columns = kDeltaColumns, rows = kDeltaChunk;
  return 4 * padded_size(rows, keys) + 2 * padded_size(keys, columns) + padded_size(columns, keys) +
         3 * padded_size(rows, columns) + padded_size(columns, rows) + padded_size(keys, rows) +
         2 * padded_size(rows, rows);
}

// Floats of the scores of all chunks.
int64_t scores_size(int64_t chunks, const DeltaShape& shape) { return chunks * shape.heads * kDeltaScores; }

// Floats of one block's DeltaPartials.
int64_t partials_size(int64_t rows, int64_t chunks, const DeltaShape& shape) {
  return rows * (2 * shape.keys() + 2 * shape.heads) + scores_size(chunks, shape);
}

void find_terms(const GatedDeltaFwd& args, Parallel& parallel) {
  const auto terms_fn = FATHOM_SIMD_SELECT(gated_delta_terms_rows);
  const RowRange rows = rows_spanned(args.sequences, args.num_sequences);
  parallel.run(rows.size(), kRowGrain, [&](int64_t begin, int64_t end, int) {
    terms_fn(args, rows.begin + begin, rows.begin + end);
  });
}

// Calls work(place, number of the block, worker) for every block of columns of every head, sequence by
// sequence.
template <class Sequence, class Work>
void for_each_block(const Sequence* sequences, int64_t num_sequences, const DeltaShape& shape,
                    Parallel& parallel, const Work& work) {
  const int64_t blocks = blocks_of(shape), of_sequence = shape.heads * blocks;
  parallel.run(num_sequences * of_sequence, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sequence = task / of_sequence, head = task % of_sequence / blocks, block = task % blocks;
      work(DeltaBlock{.head = head,
                      .begin = block * kDeltaColumns,
                      .end = std::min((block + 1) * kDeltaColumns, shape.value_dim),
                      .sequence = sequence,
                      .chunk = row_pieces(sequences, sequence, kDeltaChunk)},
           block, worker);
    }
  });
}

// Calls work(head, rows, where its scores are, worker) for every chunk of every head.
template <class Sequence, class Work>
void for_each_chunk(const Sequence* sequences, int64_t num_sequences, const DeltaShape& shape,
                    Parallel& parallel, const Work& work) {
  const int64_t chunks = row_pieces(sequences, num_sequences, kDeltaChunk);
  parallel.run(chunks * shape.heads, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      work(task % shape.heads, row_piece(sequences, num_sequences, kDeltaChunk, task / shape.heads),
           task * kDeltaScores, worker);
    }
  });
}

}  // namespace

int64_t gated_delta_fwd_workspace(const DeltaShape& shape, int threads) {
  return threads * shape.key_dim * kDeltaLanes;
}

void gated_delta_fwd_cpu(const GatedDeltaFwd& args, Parallel& parallel) {
  if (args.num_sequences == 0) return;
  const auto columns_fn = FATHOM_SIMD_SELECT(gated_delta_fwd_columns);
  find_terms(args, parallel);
  const int64_t tasks = ceil_div(args.shape.value_dim, kDeltaLanes);  // of a head
  parallel.run(args.shape.heads * tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % tasks * kDeltaLanes;
      columns_fn(args, task / tasks, first, std::min(first + kDeltaLanes, args.shape.value_dim),
                 args.workspace + worker * args.shape.key_dim * kDeltaLanes);
    }
  });
}

int64_t gated_delta_chunks_workspace(const RowRange* sequences, int64_t num_sequences,
                                     const DeltaShape& shape, int threads) {
  return scores_size(row_pieces(sequences, num_sequences, kDeltaChunk), shape) +
         threads * scratch_size(shape);
}

void gated_delta_fwd_chunks_cpu(const GatedDeltaFwd& args, Parallel& parallel) {
  if (args.num_sequences == 0) return;
  const auto scores_fn = FATHOM_SIMD_SELECT(gated_delta_scores);
  const auto chunks_fn = FATHOM_SIMD_SELECT(gated_delta_fwd_chunks);
  const DeltaShape& shape = args.shape;
  float* const scores = args.workspace;
  float* const scratch =
      scores + scores_size(row_pieces(args.sequences, args.num_sequences, kDeltaChunk), shape);
  const auto memory = [&](int worker) { return scratch + worker * scratch_size(shape); };
  find_terms(args, parallel);
  for_each_chunk(args.sequences, args.num_sequences, shape, parallel,
                 [&](int64_t head, RowRange chunk, int64_t at, int worker) {
                   scores_fn({args.q, args.k, args.terms, shape}, head, chunk, scores + at, memory(worker));
                 });
  for_each_block(args.sequences, args.num_sequences, shape, parallel,
                 [&](const DeltaBlock& place, int64_t /*block*/, int worker) {
                   chunks_fn(args, place, scores, memory(worker));
                 });
}

int64_t gated_delta_bwd_workspace(const RowRange* sequences, int64_t num_sequences, const DeltaShape& shape,
                                  int threads) {
  const int64_t chunks = row_pieces(sequences, num_sequences, kDeltaChunk);
  return blocks_of(shape) * partials_size(rows_end(sequences, num_sequences), chunks, shape) +
         2 * scores_size(chunks, shape) + threads * scratch_size(shape);
}

void gated_delta_bwd_cpu(const GatedDeltaBwd& args, Parallel& parallel) {
  const auto scores_fn = FATHOM_SIMD_SELECT(gated_delta_scores);
  const auto chunks_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_chunks);
  const auto grad_scores_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_scores);
  const auto norms_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_norms);
  const auto terms_fn = FATHOM_SIMD_SELECT(gated_delta_bwd_terms);
  const DeltaShape& shape = args.shape;
  const int64_t rows = rows_end(args.sequences, args.num_sequences), blocks = blocks_of(shape),
                chunks = row_pieces(args.sequences, args.num_sequences, kDeltaChunk);
  const int64_t keys = rows * shape.keys(), ones = rows * shape.heads, pairs = scores_size(chunks, shape);
  // All blocks of one partial lie one after another.
  float* const q = args.workspace;
  float* const k = q + blocks * keys;
  float* const alpha = k + blocks * keys;
  float* const beta = alpha + blocks * ones;
  float* const grad_scores = beta + blocks * ones;
  float* const scores = grad_scores + blocks * pairs;
  float* const summed = scores + pairs;
  float* const scratch = summed + pairs;
  const auto memory = [&](int worker) { return scratch + worker * scratch_size(shape); };
  std::memset(args.workspace, 0,
              static_cast<size_t>(blocks * partials_size(rows, chunks, shape)) * sizeof(float));
  for_each_chunk(args.sequences, args.num_sequences, shape, parallel,
                 [&](int64_t head, RowRange chunk, int64_t at, int worker) {
                   scores_fn({args.q, args.k, args.terms, shape}, head, chunk, scores + at, memory(worker));
                 });
  for_each_block(args.sequences, args.num_sequences, shape, parallel,
                 [&](const DeltaBlock& place, int64_t block, int worker) {
                   chunks_fn(args, place, scores,
                             {q + block * keys, k + block * keys, alpha + block * ones, beta + block * ones,
                              grad_scores + block * pairs},
                             memory(worker));
                 });
  reduce_row_blocks(q, blocks, keys, args.grad_q, parallel);
  reduce_row_blocks(k, blocks, keys, args.grad_k, parallel);
  reduce_row_blocks(alpha, blocks, ones, args.grad_dt, parallel);
  reduce_row_blocks(beta, blocks, ones, args.grad_b, parallel);
  reduce_row_blocks(grad_scores, blocks, pairs, summed, parallel);
  for_each_chunk(args.sequences, args.num_sequences, shape, parallel,
                 [&](int64_t head, RowRange chunk, int64_t at, int worker) {
                   grad_scores_fn(args, head, chunk, scores + at, summed + at, memory(worker));
                 });
  parallel.run(rows, kRowGrain, [&](int64_t begin, int64_t end, int) { norms_fn(args, begin, end); });
  parallel.run(shape.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t head = begin; head < end; ++head) terms_fn(args, head);
  });
}

}  // namespace fathom::kernels
