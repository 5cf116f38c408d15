#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/attention/attention_levels.h"
#include "kernels/common/row_ranges.h"

namespace fathom::kernels {

namespace {

// Calls of so few rows share out the splits of a row; larger ones share out tiles of rows.
constexpr int64_t kFewRows = 8;
// Queries that share one packing of a block of keys, where the heads of one row are not more than that
// already.
constexpr int64_t kTileQueries = 96;
// A tile is made smaller while there would be fewer tasks than this for each thread.
constexpr int64_t kTasksPerThread = 4;
// The backward pass: queries of a tile; keys of a task, of which a sequence has at most kMostChunks, so that
// what is summed over chunks stays bounded.
constexpr int64_t kBwdTileQueries = 60;
constexpr int64_t kBwdChunk = 256;
constexpr int64_t kMostChunks = 8;

constexpr int64_t kAlignment = 64;

int64_t padded_dim(int64_t dim) { return round_up(dim, kMostLanes); }
int64_t most_queries(int64_t heads, int64_t tile_queries) { return std::max(tile_queries, heads); }

// Splits that a range of n keys can touch.
int64_t max_splits(int64_t keys) { return ceil_div(keys, kKeySplit) + 1; }
int64_t num_splits(int64_t begin, int64_t end) {
  return end > begin ? ceil_div(end, kKeySplit) - begin / kKeySplit : 0;
}

// Hands out pieces of the workspace, each beginning on a cache line.
class Pieces {
 public:
  explicit Pieces(void* workspace)
      : next_(reinterpret_cast<float*>(
            round_up(static_cast<int64_t>(reinterpret_cast<uintptr_t>(workspace)), kAlignment))) {}
  float* take(int64_t floats) {
    float* const piece = next_;
    next_ += round_up(floats, kAlignment / static_cast<int64_t>(sizeof(float)));
    return piece;
  }
  SoftmaxPart* take_parts(int64_t count) { return reinterpret_cast<SoftmaxPart*>(take(2 * count)); }

 private:
  float* next_;
};

int64_t rounded(int64_t floats) { return round_up(floats, kAlignment / static_cast<int64_t>(sizeof(float))); }
int64_t bytes_of(int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)) + kAlignment; }

// What a worker of the forward pass holds: a tile's scratch, the softmax of one split and of all so far.
struct FwdWorker {
  static int64_t floats(int64_t queries, int64_t padded, int64_t value_padded) {
    return rounded(queries * padded) + 2 * rounded(queries * value_padded) + rounded(kKeyBlock * padded) +
           rounded(kKeyBlock * value_padded) + rounded(kStepQueries * kKeyBlock) +
           rounded(queries * kMostLanes) + 2 * rounded(2 * queries);
  }
  FwdWorker(float* memory, int64_t queries, int64_t padded, int64_t value_padded) {
    Pieces pieces(memory);
    scratch.q = pieces.take(queries * padded);
    acc = pieces.take(queries * value_padded);
    total_acc = pieces.take(queries * value_padded);
    scratch.k = pieces.take(kKeyBlock * padded);
    scratch.v = pieces.take(kKeyBlock * value_padded);
    scratch.scores = pieces.take(kStepQueries * kKeyBlock);
    scratch.totals = pieces.take(queries * kMostLanes);
    parts = pieces.take_parts(queries);
    totals = pieces.take_parts(queries);
  }
  AttentionFwdScratch scratch;
  float* acc;
  float* total_acc;
  SoftmaxPart* parts;
  SoftmaxPart* totals;
};

constexpr SoftmaxPart kNoKeys = {-std::numeric_limits<float>::infinity(), 0.0F};

// Sizes of a call.
struct Geometry {
  template <class Args>
  explicit Geometry(const Args& args)
      : stripes(args.stripes),
        units(args.kv_heads / args.stripes),
        pairs(args.heads / args.kv_heads),
        value_dim(args.stripes * args.head_dim),
        padded(padded_dim(args.head_dim)),
        value_padded(padded_dim(value_dim)) {}
  int64_t stripes, units;
  int64_t pairs;  // heads of a stripe of a unit
  int64_t value_dim, padded, value_padded;

  int64_t heads_of_unit() const { return stripes * pairs; }
  // The row and head of query i of a tile, see AttentionTile.
  int64_t row_of(const AttentionTile& tile, int64_t i) const {
    return tile.row_begin + i / pairs % (tile.row_end - tile.row_begin);
  }
  int64_t head_of(const AttentionTile& tile, int64_t i) const {
    const int64_t stripe = i / (pairs * (tile.row_end - tile.row_begin));
    return (tile.unit * pairs + i % pairs) * stripes + stripe;
  }
};

template <class Args>
void check_heads(const Args& args) {
  FATHOM_CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0,
               "query heads are a multiple of KV heads");
  FATHOM_CHECK(args.stripes > 0 && args.kv_heads % args.stripes == 0, "KV heads are whole units of stripes");
}

void write_out(const AttentionFwd& args, int64_t row, int64_t head, SoftmaxPart part, const float* acc) {
  const int64_t at = row * args.heads + head, value_dim = args.stripes * args.head_dim;
  float* out = args.out + at * value_dim;
  if (part.total == 0.0F) {
    std::memset(out, 0, static_cast<size_t>(value_dim) * sizeof(float));
  } else {
    FATHOM_SIMD_SELECT(attention_finish)(part, acc, out, value_dim);
  }
  if (args.lse != nullptr) {
    args.lse[at] = static_cast<float>(double{part.max} * std::numbers::ln2 + std::log(double{part.total}));
  }
}

// Every (row, unit, split) by itself, then the parts of a row merged in order.
void run_splits(const AttentionFwd& args, int64_t most_splits, float* workers, int64_t worker_floats,
                float* part_memory, Parallel& parallel) {
  const auto tile_fn = FATHOM_SIMD_SELECT(attention_tile);
  const auto merge_fn = FATHOM_SIMD_SELECT(attention_merge);
  const Geometry sizes(args);
  Pieces pieces(part_memory);
  SoftmaxPart* const parts = pieces.take_parts(args.rows * most_splits * args.heads);
  float* const accs = pieces.take(args.rows * most_splits * args.heads * sizes.value_padded);
  // Of query i of the tile (row, unit).
  const auto part_index = [&](int64_t row, int64_t s, int64_t unit, int64_t i) {
    return (row * most_splits + s) * args.heads + unit * sizes.heads_of_unit() + i;
  };
  const auto tile_of = [&](int64_t row, int64_t unit) {
    return AttentionTile{row, row + 1, unit, sizes.pairs, sizes.padded, sizes.value_padded};
  };
  parallel.run(args.rows * most_splits * sizes.units, 1, [&](int64_t first, int64_t last, int worker) {
    const FwdWorker mine(workers + worker * worker_floats, most_queries(args.heads, kTileQueries),
                         sizes.padded, sizes.value_padded);
    for (int64_t task = first; task < last; ++task) {
      const int64_t row = task / (most_splits * sizes.units);
      const int64_t s = task / sizes.units % most_splits, unit = task % sizes.units;
      const int64_t begin = args.key_begin[row], end = args.key_end[row];
      if (s >= num_splits(begin, end)) continue;
      const int64_t split = (begin / kKeySplit + s) * kKeySplit;
      const int64_t at = part_index(row, s, unit, 0);
      tile_fn(args, tile_of(row, unit), std::max(begin, split), std::min(end, split + kKeySplit),
              mine.scratch, parts + at, accs + at * sizes.value_padded);
    }
  });
  parallel.run(args.rows * args.heads, 1, [&](int64_t first, int64_t last, int) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t row = task / args.heads, unit = task % args.heads / sizes.heads_of_unit();
      const int64_t i = task % sizes.heads_of_unit();
      const int64_t splits = num_splits(args.key_begin[row], args.key_end[row]);
      const int64_t at = part_index(row, 0, unit, i);
      float* const acc = accs + at * sizes.value_padded;
      SoftmaxPart merged = splits > 0 ? parts[at] : kNoKeys;
      for (int64_t s = 1; s < splits; ++s) {
        const int64_t later = part_index(row, s, unit, i);
        merged = merge_fn(merged, acc, parts[later], accs + later * sizes.value_padded, sizes.value_dim);
      }
      write_out(args, row, sizes.head_of(tile_of(row, unit), i), merged, acc);
    }
  });
}

// One tile over all its keys, split after split.
void run_tile(const AttentionFwd& args, const AttentionTile& tile, const FwdWorker& mine) {
  const auto tile_fn = FATHOM_SIMD_SELECT(attention_tile);
  const auto merge_fn = FATHOM_SIMD_SELECT(attention_merge);
  const Geometry sizes(args);
  const int64_t queries = (tile.row_end - tile.row_begin) * sizes.heads_of_unit();
  std::fill_n(mine.totals, queries, kNoKeys);
  int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
  for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
    if (args.key_begin[r] >= args.key_end[r]) continue;
    begin = std::min<int64_t>(begin, args.key_begin[r]);
    end = std::max<int64_t>(end, args.key_end[r]);
  }
  for (int64_t s = begin / kKeySplit; s * kKeySplit < end; ++s) {
    const int64_t from = std::max(begin, s * kKeySplit), to = std::min(end, (s + 1) * kKeySplit);
    tile_fn(args, tile, from, to, mine.scratch, mine.parts, mine.acc);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t row = sizes.row_of(tile, i);
      if (args.key_begin[row] >= to || args.key_end[row] <= from ||
          args.key_begin[row] >= args.key_end[row]) {
        continue;
      }
      float* const total_acc = mine.total_acc + i * tile.value_padded;
      const float* const acc = mine.acc + i * tile.value_padded;
      if (args.key_begin[row] >= from) {  // the row's first split
        mine.totals[i] = mine.parts[i];
        std::copy_n(acc, sizes.value_dim, total_acc);
      } else {
        mine.totals[i] = merge_fn(mine.totals[i], total_acc, mine.parts[i], acc, sizes.value_dim);
      }
    }
  }
  for (int64_t i = 0; i < queries; ++i) {
    write_out(args, sizes.row_of(tile, i), sizes.head_of(tile, i), mine.totals[i],
              mine.total_acc + i * tile.value_padded);
  }
}

// Rows of a tile: enough to share the keys, few enough to keep the threads busy.
int64_t rows_of_tile(int64_t rows, const Geometry& sizes, int threads) {
  int64_t tile_rows = std::max<int64_t>(1, kTileQueries / sizes.heads_of_unit());
  while (tile_rows > 1 && ceil_div(rows, tile_rows) * sizes.units < kTasksPerThread * threads) tile_rows /= 2;
  return tile_rows;
}

}  // namespace

int64_t attention_fwd_workspace(const AttentionExtents& extents, int threads) {
  const int64_t parts = std::min(extents.rows, kFewRows) * extents.heads * max_splits(extents.max_keys);
  const int64_t padded = padded_dim(extents.head_dim),
                value_padded = padded_dim(extents.stripes * extents.head_dim);
  return bytes_of(threads *
                      FwdWorker::floats(most_queries(extents.heads, kTileQueries), padded, value_padded) +
                  rounded(2 * parts) + rounded(parts * value_padded));
}

void attention_fwd_cpu(const AttentionFwd& args, Parallel& parallel) {
  check_heads(args);
  FATHOM_CHECK(
      args.kv_layout == KeyLayout::kRows || panel_layout(args.kv_type, args.head_dim) == KeyLayout::kPanels,
      "bfloat16 panels have pairs of dimensions");
  const Geometry sizes(args);
  const int64_t queries = most_queries(args.heads, kTileQueries);
  const int64_t worker_floats = FwdWorker::floats(queries, sizes.padded, sizes.value_padded);
  Pieces pieces(args.workspace);
  float* const workers = pieces.take(parallel.num_threads() * worker_floats);

  int64_t most_splits = 0;
  for (int64_t r = 0; r < args.rows; ++r) {
    most_splits = std::max(most_splits, num_splits(args.key_begin[r], args.key_end[r]));
  }
  if (args.rows <= kFewRows && most_splits > 1) {
    run_splits(args, most_splits, workers, worker_floats, pieces.take(0), parallel);
    return;
  }
  const int64_t tile_rows = rows_of_tile(args.rows, sizes, parallel.num_threads());
  const int64_t tiles = ceil_div(args.rows, tile_rows);
  const auto sequence_of = [&](int64_t row) {
    return args.row_sequence != nullptr ? args.row_sequence[row] : 0;
  };
  parallel.run(sizes.units * tiles, 1, [&](int64_t first, int64_t last, int worker) {
    const FwdWorker mine(workers + worker * worker_floats, queries, sizes.padded, sizes.value_padded);
    for (int64_t task = first; task < last; ++task) {
      // Causal rows see more and more keys: late tiles and early ones alternate, so that neighbouring tasks
      // cost as much as any others.
      const int64_t unit = task / tiles, place = task % tiles;
      const int64_t begin = (place % 2 == 0 ? place / 2 : tiles - 1 - place / 2) * tile_rows;
      const int64_t end = std::min(args.rows, begin + tile_rows);
      // Rows of other sequences are tiles of their own.
      for (int64_t from = begin, to = begin; from < end; from = to) {
        while (to < end && sequence_of(to) == sequence_of(from)) ++to;
        run_tile(args, {from, to, unit, sizes.pairs, sizes.padded, sizes.value_padded}, mine);
      }
    }
  });
}

namespace {

struct BwdWorker {
  static int64_t floats(int64_t queries, int64_t padded, int64_t value_padded) {
    return rounded(queries * padded) + rounded(queries * value_padded) + rounded(kStepQueries * padded) +
           3 * rounded(kKeyBlock * padded) + 2 * rounded(kKeyBlock * value_padded) +
           2 * rounded(queries * kKeyBlock) + rounded(kStepQueries * pair_words(value_padded));
  }
  static int64_t pair_words(int64_t value_padded) { return std::max(value_padded, kKeyBlock) / 2; }
  BwdWorker(float* memory, int64_t queries, int64_t padded, int64_t value_padded) {
    Pieces pieces(memory);
    scratch.q = pieces.take(queries * padded);
    scratch.grad_out = pieces.take(queries * value_padded);
    scratch.grad_q = pieces.take(kStepQueries * padded);
    for (float** piece : {&scratch.k, &scratch.k_columns, &scratch.grad_k})
      *piece = pieces.take(kKeyBlock * padded);
    for (float** piece : {&scratch.v_columns, &scratch.grad_v})
      *piece = pieces.take(kKeyBlock * value_padded);
    scratch.p = pieces.take(queries * kKeyBlock);
    scratch.ds = pieces.take(queries * kKeyBlock);
    scratch.pairs = pieces.take(kStepQueries * pair_words(value_padded));
  }
  AttentionBwdScratch scratch;
};

// Keys of one task: whole blocks, a function of the sequence alone.
int64_t keys_of_chunk(int64_t keys) {
  return round_up(std::max(kBwdChunk, ceil_div(keys, kMostChunks)), kKeyBlock);
}
int64_t chunks_of(int64_t keys) { return ceil_div(keys, keys_of_chunk(keys)); }
int64_t max_chunks(int64_t keys) { return std::min(kMostChunks, ceil_div(keys, kBwdChunk)); }

}  // namespace

int64_t attention_bwd_workspace(const AttentionExtents& extents, int threads) {
  const int64_t queries = extents.rows * extents.heads;
  const int64_t worker =
      BwdWorker::floats(most_queries(extents.heads, kBwdTileQueries), padded_dim(extents.head_dim),
                        padded_dim(extents.stripes * extents.head_dim));
  const int64_t partial =
      std::max<int64_t>(0, max_chunks(extents.max_keys) - 1) * rounded(queries * extents.head_dim);
  return bytes_of(threads * worker + rounded(queries) + partial);
}

// Chunk c of a sequence's keys sums into grad_q itself (c = 0) or a partial of its own; partials are added in
// order.
void attention_bwd_cpu(const AttentionBwd& args, Parallel& parallel) {
  check_heads(args);
  const auto delta_fn = FATHOM_SIMD_SELECT(attention_bwd_delta_rows);
  const auto block_fn = FATHOM_SIMD_SELECT(attention_bwd_block);
  const auto add_fn = FATHOM_SIMD_SELECT(attention_add);
  const Geometry sizes(args);
  const int64_t queries = most_queries(args.heads, kBwdTileQueries);
  const int64_t worker_floats = BwdWorker::floats(queries, sizes.padded, sizes.value_padded);
  const int64_t tile_rows = std::max<int64_t>(1, kBwdTileQueries / sizes.pairs),
                rows = rows_end(args.query_rows, args.num_sequences);
  const int64_t row_size = args.heads * args.head_dim, share = sizes.heads_of_unit() * args.head_dim;
  int64_t most_chunks = 0;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    most_chunks = std::max(most_chunks, chunks_of(args.key_rows[s].size()));
  }
  Pieces pieces(args.workspace);
  float* const workers = pieces.take(parallel.num_threads() * worker_floats);
  float* const delta = pieces.take(rows * args.heads);
  const int64_t partial_size = rounded(rows * row_size);
  float* const partials = pieces.take(0);
  const auto grad_q_of = [&](int64_t chunk) {
    return chunk == 0 ? args.grad_q : partials + (chunk - 1) * partial_size;
  };

  parallel.run(rows, 16, [&](int64_t begin, int64_t end, int) { delta_fn(args, begin, end, delta); });
  parallel.run(
      args.num_sequences * sizes.units * most_chunks, 1, [&](int64_t first, int64_t last, int worker) {
        const BwdWorker mine(workers + worker * worker_floats, queries, sizes.padded, sizes.value_padded);
        for (int64_t task = first; task < last; ++task) {
          // First chunks first: causal queries see most of them, and what is shared out last evens
          // out who is done when.
          const int64_t chunk = task / (args.num_sequences * sizes.units);
          const int64_t sequence = task / sizes.units % args.num_sequences, unit = task % sizes.units;
          const int64_t keys = args.key_rows[sequence].size();
          if (chunk >= chunks_of(keys)) continue;
          const RowRange own_rows = args.query_rows[sequence];
          float* const grad_q = grad_q_of(chunk);
          for (int64_t r = own_rows.begin; chunk > 0 && r < own_rows.end; ++r) {
            std::fill_n(grad_q + r * row_size + unit * share, share, 0.0F);
          }
          const int64_t end = std::min(keys, (chunk + 1) * keys_of_chunk(keys));
          for (int64_t base = chunk * keys_of_chunk(keys); base < end; base += kKeyBlock) {
            block_fn(args, sequence, unit, base, tile_rows, delta, mine.scratch, grad_q);
          }
        }
      });
  if (most_chunks <= 1) return;
  parallel.run(rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t s = 0; s < args.num_sequences; ++s) {
      const int64_t from = std::max(begin, args.query_rows[s].begin),
                    to = std::min(end, args.query_rows[s].end);
      for (int64_t chunk = 1; from < to && chunk < chunks_of(args.key_rows[s].size()); ++chunk) {
        add_fn(args.grad_q + from * row_size, grad_q_of(chunk) + from * row_size, (to - from) * row_size);
      }
    }
  });
}

}  // namespace fathom::kernels
