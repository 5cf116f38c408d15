#include "kernels/attention/attention_operands.h"
#include "kernels/attention/attention_product.h"
#include "kernels/simd/philox.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// What dropout multiplies the block of keys from `base` with, for query (row, head) number `query`.
FATHOM_INLINE void block_factors(const AttentionDropout& dropout, int64_t query, int64_t base,
                                 float* factors) {
  for (int64_t j = 0; j < kKeyBlock; j += 4 * kLanes) {
    const uint64_t position = ((uint64_t)query << 29) + (uint64_t)(base + j) / 4;
    keep_factors(philox_from(dropout.seed, dropout.stream, position), dropout.share, factors + j);
  }
}
// Entries [first, last), whole vectors, times their factors. What is dropped is zero, whatever it was.
FATHOM_INLINE void drop(float* values, const float* factors, int64_t first, int64_t last) {
  for (int64_t j = first; j < last; j += kLanes) {
    const Vec by = load(factors + j);
    store(values + j, select(by == 0.0F, Vec{}, load(values + j) * by));
  }
}

// Neighbouring queries that are multiplied together: whole rows where a row has few heads, else a share of
// one.
struct Step {
  int64_t rows;   // a step has either several rows
  int64_t heads;  // or not all heads of one
};
FATHOM_INLINE Step step_of(int64_t heads) {
  if (heads <= kStepQueries) return {kStepQueries / heads, heads};
  const int64_t pieces = (heads + kStepQueries - 1) / kStepQueries;
  return {1, (heads + pieces - 1) / pieces};
}

// One query of a step after its logits: exponentials in place of scores, and acc to the new maximum. Entries
// outside [lo, hi) count as logits of minus infinity; whole vectors of them would add exact zeros and are
// left out.
FATHOM_INLINE void soften(float* scores, int64_t lo, int64_t hi, float* max, float* totals, float* acc,
                          int64_t padded) {
  const Vec nothing = broadcast(-__builtin_inff());
  const int64_t first = group_of(lo);
  Vec largest = nothing;
  for (int64_t j = first; j < hi; j += kLanes) {
    Vec logits = load(scores + j);
    if (j < lo || j + kLanes > hi) {
      logits = select(seen(j, lo, hi), logits, nothing);
      store(scores + j, logits);
    }
    largest = simd::FATHOM_SIMD_LEVEL::max(largest, logits);
  }
  const float block_max = max_lane(largest);
  Vec total = load(totals);
  if (block_max > *max) {
    const Vec keep = exp2_nonpositive(broadcast(*max - block_max));
    total = total * keep;
    for (int64_t d = 0; d < padded; d += kLanes) store(acc + d, load(acc + d) * keep);
    *max = block_max;
  }
  for (int64_t j = first; j < hi; j += kLanes) {
    const Vec p = exp2_nonpositive(load(scores + j) - *max);
    store(scores + j, p);
    total = total + p;
  }
  store(totals, total);
}

// Queries that are multiplied together against one block of keys: those of the rows [row, row_end), as many
// of each.
struct BlockStep {
  int64_t row, row_end;
  int64_t count;  // of queries, in all
  int64_t base;   // the block's first key
  Range keys;     // what the tile may see of the block
  float* scores;  // [count, kKeyBlock]
  float* acc;     // [count, value_padded]

  int64_t per_row() const { return count / (row_end - row); }
};

// What row r sees of the step's block, as entries of it.
FATHOM_INLINE Range entries_of_row(const AttentionFwd& args, const BlockStep& step, int64_t r) {
  const Range own = seen_by(args.key_begin, args.key_end, r, step.keys);
  return {own.begin - step.base, own.end - step.base};
}

// Logits, and exponentials in their place. The first query is (row, head) number `query`.
template <Panel kKeys>
FATHOM_INLINE void score_step(const AttentionFwd& args, const BlockStep& step, int64_t query, const float* q,
                              const AttentionTile& tile, Operand k, SoftmaxPart* parts, float* totals) {
  const int64_t per_row = step.per_row(), padded = tile.value_padded;
  const Range any = seen_by_any(args.key_begin, args.key_end, step.row, step.row_end, step.keys);
  if (any.begin >= any.end) return;
  const int64_t from = group_of(any.begin - step.base), to = any.end - step.base;
  multiply<kKeys>({q, tile.padded, 1, k.data, k.row, step.scores, kKeyBlock, k.panel, k.next_panel, from,
                   k.ahead, k.panel_rows},
                  step.count, to, 0, args.head_dim, false);
  for (int64_t i = 0; i < step.count; ++i) {
    const int64_t r = i / per_row;
    const Range own = entries_of_row(args, step, step.row + r);
    if (own.begin >= own.end) continue;
    float* const scores = step.scores + i * kKeyBlock;
    soften(scores, own.begin, own.end, &parts[i].max, totals + i * kMostLanes, step.acc + i * padded, padded);
    if (args.dropout.share == 0) continue;
    float factors[kKeyBlock];
    block_factors(args.dropout, query + r * args.heads + i % per_row * args.stripes, step.base, factors);
    drop(scores, factors, group_of(own.begin), own.end);
  }
}

// Adds the block's values. In the order of keys for every query: first those that only some rows see, then
// those that all do, then again the others. So nobody's sum depends on what only its neighbours see.
template <Panel kValues>
FATHOM_INLINE void value_step(const AttentionFwd& args, const BlockStep& step, Operand v, int64_t padded) {
  const int64_t per_row = step.per_row();
  // Entries [lo, hi) for `count` queries from number `first` on.
  const auto add = [&](int64_t first, int64_t count, int64_t lo, int64_t hi) __attribute__((always_inline)) {
    multiply<kValues>({step.scores + first * kKeyBlock, kKeyBlock, 1, v.data, v.row,
                       step.acc + first * padded, padded, v.panel, v.next_panel, 0, v.ahead, v.panel_rows},
                      count, args.stripes * args.head_dim, lo, hi, true);
  };
  Range all = {0, kKeyBlock};  // what every row sees
  for (int64_t r = step.row; r < step.row_end; ++r) {
    const Range own = entries_of_row(args, step, r);
    all =
        own.begin < own.end ? Range{at_least(all.begin, own.begin), at_most(all.end, own.end)} : Range{0, 0};
  }
  const auto rest = [&](bool after) __attribute__((always_inline)) {
    for (int64_t r = step.row; r < step.row_end; ++r) {
      Range own = entries_of_row(args, step, r);
      if (all.begin >= all.end) {
        if (after) return;  // all of it was done before
      } else if (after) {
        own.begin = all.end;
      } else {
        own.end = all.begin;
      }
      if (own.begin < own.end) add((r - step.row) * per_row, per_row, own.begin, own.end);
    }
  };
  rest(false);
  if (all.begin < all.end) add(0, step.count, all.begin, all.end);
  rest(true);
}

// The tile against all blocks. See UnitOperands; the bits are the same whatever they are.
template <bool kBf16, KeyLayout kLayout, bool kFew>
FATHOM_INLINE void run_tile(const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin,
                            int64_t key_end, const AttentionFwdScratch& scratch, SoftmaxPart* parts,
                            float* acc) {
  constexpr Panel kKeys = kFew ? Panel::kBf16Pairs : Panel::kFloat;
  constexpr Panel kValues = kFew ? Panel::kBf16 : Panel::kFloat;
  const int64_t dim = args.head_dim, rows = tile.row_end - tile.row_begin;
  const int64_t of_stripe = rows * tile.pairs, queries = args.stripes * of_stripe;
  const KeyList& list = args.sequences[args.row_sequence != nullptr ? args.row_sequence[tile.row_begin] : 0];
  for (int64_t s = 0; s < args.stripes; ++s) {
    pack_queries(args.q, tile, args.heads, args.stripes, s, dim, tile.padded, args.scale * kLog2E,
                 scratch.q + s * of_stripe * tile.padded);
  }
  for (int64_t i = 0; i < queries; ++i) parts[i] = {-__builtin_inff(), 0.0F};
  for (int64_t i = 0; i < queries * tile.value_padded; i += kLanes) store(acc + i, Vec{});
  for (int64_t i = 0; i < queries; ++i) store(scratch.totals + i * kMostLanes, Vec{});
  const Step step = step_of(tile.pairs);
  // The queries of all stripes are one step for the values, which are then read once.
  const bool together = rows == 1 && queries <= kStepQueries;
  UnitOperands<kBf16, kLayout, kFew> operands(args, tile, list, scratch);
  for (int64_t base = key_begin / kKeyBlock * kKeyBlock; base < key_end; base += kKeyBlock) {
    const Range keys = {at_least(base, key_begin), at_most(base + kKeyBlock, key_end)};
    const Range any = seen_by_any(args.key_begin, args.key_end, tile.row_begin, tile.row_end, keys);
    if (any.begin >= any.end) continue;  // nobody's block: it may not even exist
    const int64_t block = base / kKeyBlock;
    const int64_t next_block = base + kKeyBlock < key_end ? block + 1 : key_begin / kKeyBlock;
    operands.begin(block, next_block, any.begin - base, any.end - base, base < key_begin + kKeyBlock);
    Operand values{};
    for (int64_t s = 0; s < args.stripes; ++s) {
      const Operand columns = operands.keys(s);
      if (s == 0) values = operands.values();
      for (int64_t r = tile.row_begin; r < tile.row_end; r += step.rows) {
        const int64_t row_end = at_most(r + step.rows, tile.row_end);
        for (int64_t g = 0; g < tile.pairs; g += step.heads) {
          const int64_t i = s * of_stripe + (r - tile.row_begin) * tile.pairs + g;
          const BlockStep mine = {.row = r,
                                  .row_end = row_end,
                                  .count = (row_end - r) * at_most(step.heads, tile.pairs - g),
                                  .base = base,
                                  .keys = keys,
                                  .scores = scratch.scores + (together ? i * kKeyBlock : 0),
                                  .acc = acc + i * tile.value_padded};
          const int64_t query = r * args.heads + (tile.unit * tile.pairs + g) * args.stripes + s;
          score_step<kKeys>(args, mine, query, scratch.q + i * tile.padded, tile, columns, parts + i,
                            scratch.totals + i * kMostLanes);
          if (!together) value_step<kValues>(args, mine, values, tile.value_padded);
        }
      }
    }
    if (together) {
      value_step<kValues>(args, {tile.row_begin, tile.row_end, queries, base, keys, scratch.scores, acc},
                          values, tile.value_padded);
    }
  }
  for (int64_t i = 0; i < queries; ++i) parts[i].total = sum(load(scratch.totals + i * kMostLanes));
}

template <bool kBf16, KeyLayout kLayout>
FATHOM_INLINE void run_tile_of(const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin,
                               int64_t key_end, const AttentionFwdScratch& scratch, SoftmaxPart* parts,
                               float* acc) {
  const int64_t queries = (tile.row_end - tile.row_begin) * tile.pairs;  // that share a panel of keys
  if constexpr (kBf16 && kLayout == KeyLayout::kPanels) {
    if (queries <= kStepQueries && args.head_dim % kLanes == 0) {
      return run_tile<kBf16, kLayout, true>(args, tile, key_begin, key_end, scratch, parts, acc);
    }
  }
  run_tile<kBf16, kLayout, false>(args, tile, key_begin, key_end, scratch, parts, acc);
}

}  // namespace

void attention_tile(const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin, int64_t key_end,
                    const AttentionFwdScratch& scratch, SoftmaxPart* parts, float* acc) {
  const bool bf16 = args.kv_type == DType::kBF16, rows = args.kv_layout == KeyLayout::kRows;
  if (bf16 && rows) {
    run_tile_of<true, KeyLayout::kRows>(args, tile, key_begin, key_end, scratch, parts, acc);
  } else if (bf16) {
    run_tile_of<true, KeyLayout::kPanels>(args, tile, key_begin, key_end, scratch, parts, acc);
  } else if (rows) {
    run_tile_of<false, KeyLayout::kRows>(args, tile, key_begin, key_end, scratch, parts, acc);
  } else {
    run_tile_of<false, KeyLayout::kPanels>(args, tile, key_begin, key_end, scratch, parts, acc);
  }
}

SoftmaxPart attention_merge(SoftmaxPart earlier, float* earlier_acc, SoftmaxPart later,
                            const float* later_acc, int64_t value_dim) {
  const float new_max = later.max > earlier.max ? later.max : earlier.max;
  const Vec keep = exp2_nonpositive(broadcast(earlier.max - new_max));
  const Vec add = exp2_nonpositive(broadcast(later.max - new_max));
  for (int64_t d = 0; d < value_dim; d += kLanes) {
    const int64_t n = lanes_left(value_dim - d);
    store_n(earlier_acc + d, fma(load_n(later_acc + d, n), add, load_n(earlier_acc + d, n) * keep), n);
  }
  return {new_max, earlier.total * keep[0] + later.total * add[0]};
}

void attention_finish(SoftmaxPart part, const float* acc, float* out, int64_t value_dim) {
  const float factor = 1.0F / part.total;
  for (int64_t d = 0; d < value_dim; d += kLanes) {
    const int64_t n = lanes_left(value_dim - d);
    store_n(out + d, load_n(acc + d, n) * factor, n);
  }
}

void attention_bwd_delta_rows(const AttentionBwd& args, int64_t begin, int64_t end, float* delta) {
  const int64_t dim = args.head_dim, value_dim = args.stripes * dim;
  for (int64_t i = begin * args.heads; i < end * args.heads; ++i) {
    Vec total = {};
    for (int64_t d = 0; d < value_dim; d += kLanes) {
      const int64_t n = lanes_left(value_dim - d), at = i * value_dim + d;
      total = fma(load_n(args.out + at, n), load_n(args.grad_out + at, n), total);
    }
    for (int64_t d = 0; d < dim; d += kLanes) store_n(args.grad_q + i * dim + d, Vec{}, lanes_left(dim - d));
    delta[i] = sum(total);
  }
}

namespace {

// The rows of a step on the left of a product, as they are or as pairs.
struct StepRows {
  const float* data;
  int64_t stride;
};
template <bool kBf16>
FATHOM_INLINE StepRows step_rows(const float* rows, int64_t stride, int64_t count, int64_t width,
                                 const AttentionBwdScratch& scratch) {
  if (!kBf16) return {rows, stride};
  pair_neighbours(rows, stride, count, width, scratch.pairs, width / 2);
  return {scratch.pairs, width / 2};
}

// Probabilities and the gradients of logits of one step of queries over the entries [first, last) of a block,
// zero where a query does not see the entry. `index` is the first query's in [rows, heads], `at` in scratch.
template <bool kBf16>
FATHOM_INLINE void step_slopes(const AttentionBwd& args, const AttentionTile& tile, int64_t row,
                               int64_t row_end, int64_t count, int64_t index, int64_t base, int64_t first,
                               int64_t last, int64_t at, const float* delta,
                               const AttentionBwdScratch& scratch) {
  const int64_t per_row = count / (row_end - row), from = group_of(first);
  const int64_t padded = tile.padded, value_padded = tile.value_padded;
  float* const p = scratch.p + at * kKeyBlock;
  float* const ds = scratch.ds + at * kKeyBlock;
  multiply({scratch.q + at * padded, padded, 1, scratch.k_columns + from, kKeyBlock, p + from, kKeyBlock},
           count, last - from, 0, args.head_dim, false);
  const StepRows out =
      step_rows<kBf16>(scratch.grad_out + at * value_padded, value_padded, count, value_padded, scratch);
  multiply<kBf16 ? Panel::kPairs : Panel::kFloat>(
      {out.data, out.stride, 1, scratch.v_columns + from, kKeyBlock, ds + from, kKeyBlock}, count,
      last - from, 0, args.stripes * args.head_dim, false);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t r = row + i / per_row;
    const int64_t lo = args.key_begin[r] - base, hi = args.key_end[r] - base;
    // The softmax of one entry is a constant; its slope would be what rounding leaves of two equal sums.
    const bool constant = hi - lo == 1;
    const int64_t query = index + i / per_row * args.heads + i % per_row * args.stripes;
    const Vec lse = broadcast(args.lse[query] * kLog2E), subtract = broadcast(delta[query]);
    float factors[kKeyBlock];
    if (args.dropout.share > 0) {
      block_factors(args.dropout, query, base, factors);
      drop(ds + i * kKeyBlock, factors, from, last);
    }
    for (int64_t j = from; j < last; j += kLanes) {
      float* const p_at = p + i * kKeyBlock + j;
      float* const ds_at = ds + i * kKeyBlock + j;
      Vec probability = exp2_nonpositive(load(p_at) - lse);
      Vec slope = constant ? Vec{} : probability * (load(ds_at) - subtract);
      if (j < lo || j + kLanes > hi) {
        const IVec mask = seen(j, at_least(lo, 0), at_most(hi, kKeyBlock));
        probability = select(mask, probability, Vec{});
        slope = select(mask, slope, Vec{});
      }
      store(p_at, probability);
      store(ds_at, slope);
    }
    if (args.dropout.share > 0) drop(p + i * kKeyBlock, factors, from, last);
  }
}

// One stripe of a tile against the packed block: see attention_bwd_block.
template <bool kBf16>
FATHOM_INLINE void bwd_tile(const AttentionBwd& args, const AttentionTile& tile, int64_t stripe, int64_t base,
                            Range any, const float* delta, const AttentionBwdScratch& scratch,
                            float* grad_q) {
  const int64_t dim = args.head_dim, value_dim = args.stripes * dim;
  const int64_t padded = tile.padded, value_padded = tile.value_padded;
  const int64_t queries = (tile.row_end - tile.row_begin) * tile.pairs;
  const int64_t first = any.begin - base, last = any.end - base;
  pack_queries(args.q, tile, args.heads, args.stripes, stripe, dim, padded, args.scale * kLog2E, scratch.q);
  pack_queries(args.grad_out, tile, args.heads, args.stripes, stripe, value_dim, value_padded, 1.0F,
               scratch.grad_out);
  constexpr Panel kPanel = kBf16 ? Panel::kPairs : Panel::kFloat;
  const Step step = step_of(tile.pairs);
  for (int64_t r = tile.row_begin; r < tile.row_end; r += step.rows) {
    const int64_t row_end = at_most(r + step.rows, tile.row_end);
    for (int64_t g = 0; g < tile.pairs; g += step.heads) {
      const int64_t at = (r - tile.row_begin) * tile.pairs + g;
      const int64_t index = r * args.heads + (tile.unit * tile.pairs + g) * args.stripes + stripe;
      const int64_t per_row = at_most(step.heads, tile.pairs - g), count = (row_end - r) * per_row;
      step_slopes<kBf16>(args, tile, r, row_end, count, index, base, first, last, at, delta, scratch);
      const StepRows ds = step_rows<kBf16>(scratch.ds + at * kKeyBlock, kKeyBlock, count, kKeyBlock, scratch);
      multiply<kPanel>({ds.data, ds.stride, 1, scratch.k, padded, scratch.grad_q, padded}, count, dim, first,
                       last, false);
      for (int64_t i = 0; i < count; ++i) {
        float* const to = grad_q + (index + i / per_row * args.heads + i % per_row * args.stripes) * dim;
        for (int64_t d = 0; d < dim; d += kLanes) {
          const int64_t n = lanes_left(dim - d);
          store_n(to + d,
                  fma(load(scratch.grad_q + i * padded + d), broadcast(args.scale), load_n(to + d, n)), n);
        }
      }
    }
  }
  if (kBf16) {
    pair_rows(scratch.q, 0, queries, padded);
    pair_rows(scratch.grad_out, 0, queries, value_padded);
    for (float* rows : {scratch.p, scratch.ds}) pair_rows(rows, 0, queries, kKeyBlock);
  }
  for (int64_t j = first; j < last; j += kStepQueries) {
    const int64_t count = at_most(kStepQueries, last - j);
    multiply<kPanel>({scratch.ds + j, 1, kKeyBlock, scratch.q, padded, scratch.grad_k + j * padded, padded},
                     count, dim, 0, queries, true);
    multiply<kPanel>({scratch.p + j, 1, kKeyBlock, scratch.grad_out, value_padded,
                      scratch.grad_v + j * value_padded, value_padded},
                     count, value_dim, 0, queries, true);
  }
}

// `entries` rows of a gradient from scratch to [key rows, kv_heads, head_dim].
FATHOM_INLINE void unpack(const float* from, int64_t entries, int64_t dim, int64_t padded, float factor,
                          float* to, int64_t stride) {
  for (int64_t j = 0; j < entries; ++j) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      store_n(to + j * stride + d, load(from + j * padded + d) * factor, lanes_left(dim - d));
    }
  }
}

template <bool kBf16>
FATHOM_INLINE void bwd_block(const AttentionBwd& args, int64_t sequence, int64_t unit, int64_t base,
                             int64_t tile_rows, const float* delta, const AttentionBwdScratch& scratch,
                             float* grad_q) {
  const int64_t dim = args.head_dim, value_dim = args.stripes * dim, stride = args.kv_heads * dim;
  const int64_t padded = padded_dim(dim), value_padded = padded_dim(value_dim);
  const int64_t pairs = args.heads / args.kv_heads;
  const RowRange queries = args.query_rows[sequence], key_rows = args.key_rows[sequence];
  const Range keys = {base, at_most(base + kKeyBlock, key_rows.end - key_rows.begin)};
  const int64_t offset = (key_rows.begin + base) * stride + unit * value_dim, entries = keys.end - base;
  for (int64_t i = 0; i < entries * value_padded; i += kLanes) store(scratch.grad_v + i, Vec{});
  const Range all = seen_by_any(args.key_begin, args.key_end, queries.begin, queries.end, keys);
  const int64_t lo = all.begin - base, hi = all.end - base;
  const Entries k = {args.k + offset, stride}, v = {args.v + offset, stride};
  if (lo < hi) {
    pack_columns<false>(v, lo, hi, value_dim, scratch.v_columns, k, value_dim);
    if (kBf16) pair_rows(scratch.v_columns, 0, value_dim, kKeyBlock);
  }
  for (int64_t s = 0; s < args.stripes; ++s) {
    for (int64_t i = 0; i < entries * padded; i += kLanes) store(scratch.grad_k + i, Vec{});
    if (lo < hi) {
      const Entries of_head = {args.k + offset + s * dim, stride};
      pack_entries<false>(of_head, lo, hi, dim, padded, scratch.k, k, 0);
      pack_columns<false>(of_head, lo, hi, dim, scratch.k_columns, k, 0);
      if (kBf16) pair_rows(scratch.k, lo, hi, padded);
    }
    for (int64_t r = queries.begin; lo < hi && r < queries.end; r += tile_rows) {
      const AttentionTile tile = {r, at_most(r + tile_rows, queries.end), unit, pairs, padded, value_padded};
      const Range any = seen_by_any(args.key_begin, args.key_end, tile.row_begin, tile.row_end, keys);
      if (any.begin < any.end) bwd_tile<kBf16>(args, tile, s, base, any, delta, scratch, grad_q);
    }
    // Queries were in units of log2 and without the scale.
    unpack(scratch.grad_k, entries, dim, padded, 1.0F / kLog2E, args.grad_k + offset + s * dim, stride);
  }
  unpack(scratch.grad_v, entries, value_dim, value_padded, 1.0F, args.grad_v + offset, stride);
}

}  // namespace

void attention_bwd_block(const AttentionBwd& args, int64_t sequence, int64_t unit, int64_t base,
                         int64_t tile_rows, const float* delta, const AttentionBwdScratch& scratch,
                         float* grad_q) {
#if defined(FATHOM_SIMD_avx512_bf16)
  if (args.bf16) return bwd_block<true>(args, sequence, unit, base, tile_rows, delta, scratch, grad_q);
#endif
  bwd_block<false>(args, sequence, unit, base, tile_rows, delta, scratch, grad_q);
}

void attention_add(float* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = lanes_left(count - i);
    store_n(to + i, load_n(to + i, n) + load_n(from + i, n), n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
