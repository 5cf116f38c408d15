#include "kernels/attention/attention_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// From this many queries on, a block of keys is first copied to dense floats in scratch.
constexpr int64_t kPackFrom = 4;

// How many keys ahead of their use unpacked keys are asked for.
constexpr int64_t kAhead = 16;

// Entries of one KV head in one block: `stride` elements apart. Packed entries lie in scratch: float, and
// readable (zero) up to whole vectors. Both forms give the same bits.
struct Entries {
  const void* data;
  int64_t stride;
};

template <bool kBf16>
FATHOM_INLINE Vec load_kv(const void* base, int64_t index) {
  return kBf16 ? load_bf16((const uint16_t*)base + index) : load((const float*)base + index);
}
template <bool kBf16>
FATHOM_INLINE Vec load_kv_n(const void* base, int64_t index, int64_t n) {
  return kBf16 ? load_bf16_n((const uint16_t*)base + index, n) : load_n((const float*)base + index, n);
}

FATHOM_INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
FATHOM_INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
FATHOM_INLINE int64_t group_of(int64_t j) { return j / kLanes * kLanes; }

// All ones where lo <= j + lane < hi.
FATHOM_INLINE IVec seen(int64_t j, int64_t lo, int64_t hi) {
  const IVec index = lane_numbers() + (int32_t)j;
  return (IVec)(index >= (int32_t)lo) & (IVec)(index < (int32_t)hi);
}

// Asks for entries j .. j + kLanes - 1 ahead of their use: one head's share of an entry is too short, and too
// far from the next, for the hardware to foresee. Addresses behind the block do no harm.
template <bool kBf16>
FATHOM_INLINE void prefetch(Entries entries, int64_t j, int64_t dim) {
  constexpr int64_t kElement = kBf16 ? 2 : 4, kLine = 64;
  for (int i = 0; i < kLanes; ++i) {
    const char* const entry = (const char*)entries.data + (j + i) * entries.stride * kElement;
    for (int64_t at = 0; at < dim * kElement; at += kLine) __builtin_prefetch(entry + at);
  }
}

// q . k of the entries j .. j + kLanes - 1, one sum a lane; lanes outside [lo, hi) hold anything. q is
// padded.
template <bool kBf16, bool kPacked>
FATHOM_INLINE Vec dots(const float* q, Entries k, int64_t j, int64_t lo, int64_t hi, int64_t dim) {
  int64_t at[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    // Entries that nobody sees need not be readable.
    const int64_t entry = kPacked ? j + i : at_most(at_least(j + i, lo), hi - 1);
    at[i] = entry * k.stride;
  }
  Vec acc[kLanes];
  for (int i = 0; i < kLanes; ++i) acc[i] = Vec{};
  const int64_t whole = kPacked ? dim : dim - kLanes + 1;
  int64_t d = 0;
  for (; d < whole; d += kLanes) {
    const Vec qv = load(q + d);
    for (int i = 0; i < kLanes; ++i) acc[i] = fma(qv, load_kv<kBf16>(k.data, at[i] + d), acc[i]);
  }
  if (d < dim) {
    const Vec qv = load(q + d);
    for (int i = 0; i < kLanes; ++i) acc[i] = fma(qv, load_kv_n<kBf16>(k.data, at[i] + d, dim - d), acc[i]);
  }
  return sum_each(acc);
}

// acc[d] = acc[d] * scale + sum_j p[j] v_j[d] for kStrip vectors of d, j in order.
template <bool kBf16, int kStrip>
FATHOM_INLINE void weigh_strip(const float* p, Entries v, int64_t lo, int64_t hi, int64_t d, float scale,
                               float* acc) {
  Vec total[kStrip];
  for (int i = 0; i < kStrip; ++i) total[i] = load(acc + d + i * kLanes) * scale;
  for (int64_t j = lo; j < hi; ++j) {
    const Vec weight = broadcast(p[j]);
    const int64_t at = j * v.stride + d;
    for (int i = 0; i < kStrip; ++i)
      total[i] = fma(weight, load_kv<kBf16>(v.data, at + i * kLanes), total[i]);
  }
  for (int i = 0; i < kStrip; ++i) store(acc + d + i * kLanes, total[i]);
}

// The same for all of head_dim; acc is padded.
template <bool kBf16, bool kPacked>
FATHOM_INLINE void weigh(const float* p, Entries v, int64_t lo, int64_t hi, float scale, float* acc,
                         int64_t dim) {
  const int64_t whole = kPacked ? (dim + kLanes - 1) / kLanes * kLanes : group_of(dim);
  int64_t d = 0;
  for (; d + 8 * kLanes <= whole; d += 8 * kLanes) weigh_strip<kBf16, 8>(p, v, lo, hi, d, scale, acc);
  for (; d + 4 * kLanes <= whole; d += 4 * kLanes) weigh_strip<kBf16, 4>(p, v, lo, hi, d, scale, acc);
  for (; d + kLanes <= whole; d += kLanes) weigh_strip<kBf16, 1>(p, v, lo, hi, d, scale, acc);
  if (d < dim) {
    Vec total = load(acc + d) * scale;
    for (int64_t j = lo; j < hi; ++j) {
      total = fma(broadcast(p[j]), load_kv_n<kBf16>(v.data, j * v.stride + d, dim - d), total);
    }
    store(acc + d, total);
  }
}

// One query and the entries [lo, hi) of a block, `first` of those that read them. Entries outside count as
// logits of minus infinity; whole vectors of them would add exact zeros and are left out.
template <bool kBf16, bool kPacked>
FATHOM_INLINE void attend(const float* q, Entries k, Entries v, int64_t lo, int64_t hi, int64_t dim,
                          float scale, bool first, float* scores, SoftmaxPart* part, float* acc) {
  const Vec nothing = broadcast(-__builtin_inff());
  Vec largest = nothing;
  for (int64_t j = group_of(lo); j < hi; j += kLanes) {
    if (!kPacked && first) {
      prefetch<kBf16>(k, j + kAhead, dim);
      prefetch<kBf16>(v, j, dim);
    }
    const Vec logits = select(seen(j, lo, hi), dots<kBf16, kPacked>(q, k, j, lo, hi, dim) * scale, nothing);
    store(scores + j, logits);
    largest = max(largest, logits);
  }
  const float block_max = max_lane(largest);
  const float new_max = block_max > part->max ? block_max : part->max;
  Vec total = {};
  for (int64_t j = group_of(lo); j < hi; j += kLanes) {
    const Vec p = exp(load(scores + j) - new_max);
    store(scores + j, p);
    total = total + p;
  }
  const Vec keep = exp(broadcast(part->max - new_max));
  weigh<kBf16, kPacked>(scores, v, lo, hi, keep[0], acc, dim);
  part->total = part->total * keep[0] + sum(total);
  part->max = new_max;
}

// `dim` elements to floats, zeros up to `padded`.
template <bool kBf16>
FATHOM_INLINE void pack(const void* from, int64_t at, int64_t dim, int64_t padded, float* to) {
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(to + d, load_kv<kBf16>(from, at + d));
  for (; d < padded; d += kLanes) {
    store(to + d, d < dim ? load_kv_n<kBf16>(from, at + d, dim - d) : Vec{});
  }
}

template <bool kBf16>
FATHOM_INLINE void pack_entries(Entries from, int64_t lo, int64_t hi, int64_t dim, int64_t padded,
                                float* to) {
  for (int64_t j = lo; j < hi; ++j) pack<kBf16>(from.data, j * from.stride, dim, padded, to + j * padded);
}

// What the rows of a tile see of [from, to), together.
struct Range {
  int64_t begin;
  int64_t end;
};
FATHOM_INLINE Range seen_by_any(const int32_t* key_begin, const int32_t* key_end, const AttentionTile& tile,
                                int64_t from, int64_t to) {
  Range range = {to, from};
  for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
    const int64_t begin = at_least(key_begin[r], from), end = at_most(key_end[r], to);
    if (begin >= end) continue;
    range.begin = at_most(range.begin, begin);
    range.end = at_least(range.end, end);
  }
  return range;
}

// Queries of the tile from [rows, heads, head_dim] to scratch.
FATHOM_INLINE void pack_queries(const float* from, const AttentionTile& tile, int64_t heads, int64_t group,
                                int64_t dim, float* to) {
  for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
    for (int64_t g = 0; g < group; ++g, to += tile.padded) {
      pack<false>(from, (r * heads + tile.kv_head * group + g) * dim, dim, tile.padded, to);
    }
  }
}

template <bool kBf16, bool kPacked>
FATHOM_INLINE void tile_block(const AttentionFwd& args, const AttentionTile& tile, int64_t base,
                              int64_t key_begin, int64_t key_end, Entries k, Entries v,
                              const AttentionFwdScratch& scratch, SoftmaxPart* parts, float* acc) {
  const int64_t group = args.heads / args.kv_heads;
  for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
    const int64_t lo = at_least(args.key_begin[r], key_begin) - base;
    const int64_t hi = at_most(args.key_end[r], key_end) - base;
    if (lo >= hi) continue;
    for (int64_t i = (r - tile.row_begin) * group; i < (r - tile.row_begin + 1) * group; ++i) {
      attend<kBf16, kPacked>(scratch.q + i * tile.padded, k, v, lo, hi, args.head_dim, args.scale,
                             i % group == 0, scratch.scores, parts + i, acc + i * tile.padded);
    }
  }
}

template <bool kBf16>
FATHOM_INLINE void run_tile(const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin,
                            int64_t key_end, const AttentionFwdScratch& scratch, SoftmaxPart* parts,
                            float* acc) {
  const int64_t group = args.heads / args.kv_heads, dim = args.head_dim;
  const int64_t queries = (tile.row_end - tile.row_begin) * group;
  const KeyList& keys = args.sequences[args.row_sequence != nullptr ? args.row_sequence[tile.row_begin] : 0];
  pack_queries(args.q, tile, args.heads, group, dim, scratch.q);
  for (int64_t i = 0; i < queries; ++i) parts[i] = {-__builtin_inff(), 0.0F};
  for (int64_t i = 0; i < queries * tile.padded; i += kLanes) store(acc + i, Vec{});
  for (int64_t base = key_begin / kKeyBlock * kKeyBlock; base < key_end; base += kKeyBlock) {
    const int64_t from = at_least(base, key_begin), to = at_most(base + kKeyBlock, key_end);
    const Range any = seen_by_any(args.key_begin, args.key_end, tile, from, to);
    if (any.begin >= any.end) continue;  // nobody's block: it may not even exist
    const int64_t element = kBf16 ? 2 : 4, offset = tile.kv_head * dim * element;
    const Entries k = {(const char*)keys.k_blocks[base / kKeyBlock] + offset, args.kv_heads * dim};
    const Entries v = {(const char*)keys.v_blocks[base / kKeyBlock] + offset, args.kv_heads * dim};
    if (queries < kPackFrom) {
      tile_block<kBf16, false>(args, tile, base, from, to, k, v, scratch, parts, acc);
    } else {
      pack_entries<kBf16>(k, any.begin - base, any.end - base, dim, tile.padded, scratch.k);
      pack_entries<kBf16>(v, any.begin - base, any.end - base, dim, tile.padded, scratch.v);
      tile_block<false, true>(args, tile, base, from, to, {scratch.k, tile.padded}, {scratch.v, tile.padded},
                              scratch, parts, acc);
    }
  }
}

// grad[d] += sum_i weight[i * kKeyBlock] x_i[d] for kStrip vectors of d, queries in order.
template <int kStrip>
FATHOM_INLINE void gather_strip(const float* weight, const float* x, int64_t queries, int64_t padded,
                                float* grad) {
  Vec total[kStrip];
  for (int i = 0; i < kStrip; ++i) total[i] = load(grad + i * kLanes);
  for (int64_t q = 0; q < queries; ++q) {
    const Vec w = broadcast(weight[q * kKeyBlock]);
    for (int i = 0; i < kStrip; ++i) total[i] = fma(w, load(x + q * padded + i * kLanes), total[i]);
  }
  for (int i = 0; i < kStrip; ++i) store(grad + i * kLanes, total[i]);
}

FATHOM_INLINE void gather(const float* weight, const float* x, int64_t queries, int64_t padded, int64_t dim,
                          float* grad) {
  int64_t d = 0;
  for (; d + 8 * kLanes <= dim; d += 8 * kLanes) gather_strip<8>(weight, x + d, queries, padded, grad + d);
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) gather_strip<4>(weight, x + d, queries, padded, grad + d);
  for (; d + kLanes <= dim; d += kLanes) gather_strip<1>(weight, x + d, queries, padded, grad + d);
  if (d < dim) {
    Vec total = load_n(grad + d, dim - d);
    for (int64_t q = 0; q < queries; ++q) {
      total = fma(broadcast(weight[q * kKeyBlock]), load(x + q * padded + d), total);
    }
    store_n(grad + d, total, dim - d);
  }
}

}  // namespace

void attention_tile(const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin, int64_t key_end,
                    const AttentionFwdScratch& scratch, SoftmaxPart* parts, float* acc) {
  if (args.kv_type == DType::kBF16) {
    run_tile<true>(args, tile, key_begin, key_end, scratch, parts, acc);
  } else {
    run_tile<false>(args, tile, key_begin, key_end, scratch, parts, acc);
  }
}

SoftmaxPart attention_merge(SoftmaxPart earlier, float* earlier_acc, SoftmaxPart later,
                            const float* later_acc, int64_t head_dim) {
  const float new_max = later.max > earlier.max ? later.max : earlier.max;
  const Vec keep = exp(broadcast(earlier.max - new_max)), add = exp(broadcast(later.max - new_max));
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    const int64_t n = lanes_left(head_dim - d);
    store_n(earlier_acc + d, fma(load_n(later_acc + d, n), add, load_n(earlier_acc + d, n) * keep), n);
  }
  return {new_max, earlier.total * keep[0] + later.total * add[0]};
}

void attention_finish(SoftmaxPart part, const float* acc, float* out, int64_t head_dim) {
  const float factor = 1.0F / part.total;
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    const int64_t n = lanes_left(head_dim - d);
    store_n(out + d, load_n(acc + d, n) * factor, n);
  }
}

// Per block of keys: probabilities and the gradients of logits of all queries, then the three products.
void attention_bwd_tile(const AttentionBwd& args, const AttentionTile& tile, int64_t first_key_row,
                        const AttentionBwdScratch& scratch) {
  const int64_t dim = args.head_dim, group = args.heads / args.kv_heads, stride = args.kv_heads * dim;
  const int64_t queries = (tile.row_end - tile.row_begin) * group, padded = tile.padded;
  pack_queries(args.q, tile, args.heads, group, dim, scratch.q);
  pack_queries(args.grad_out, tile, args.heads, group, dim, scratch.grad_out);
  const auto index_of = [&](int64_t i) {  // of query i in [rows, heads]
    return (tile.row_begin + i / group) * args.heads + tile.kv_head * group + i % group;
  };
  for (int64_t i = 0; i < queries; ++i) {
    Vec delta = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      delta = fma(load_n(args.out + index_of(i) * dim + d, lanes_left(dim - d)),
                  load(scratch.grad_out + i * padded + d), delta);
    }
    scratch.delta[i] = sum(delta);
  }
  for (int64_t i = 0; i < queries * padded; i += kLanes) store(scratch.grad_q + i, Vec{});

  const Range all = seen_by_any(args.key_begin, args.key_end, tile, 0, INT64_MAX);
  for (int64_t base = all.begin / kKeyBlock * kKeyBlock; base < all.end; base += kKeyBlock) {
    const Range any = seen_by_any(args.key_begin, args.key_end, tile, base, base + kKeyBlock);
    if (any.begin >= any.end) continue;
    const int64_t first = any.begin - base, last = any.end - base;
    const int64_t offset = (first_key_row + base) * stride + tile.kv_head * dim;
    pack_entries<false>({args.k + offset, stride}, first, last, dim, padded, scratch.k);
    pack_entries<false>({args.v + offset, stride}, first, last, dim, padded, scratch.v);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t r = tile.row_begin + i / group;
      const int64_t lo = at_least(args.key_begin[r] - base, 0),
                    hi = at_most(args.key_end[r] - base, kKeyBlock);
      const float lse = args.lse[index_of(i)], delta = scratch.delta[i];
      float* p = scratch.p + i * kKeyBlock;
      float* ds = scratch.ds + i * kKeyBlock;
      for (int64_t j = group_of(first); j < last; j += kLanes) {
        Vec probability = {}, slope = {};
        if (j < hi && j + kLanes > lo) {
          const Vec logits =
              dots<false, true>(scratch.q + i * padded, {scratch.k, padded}, j, lo, hi, dim) * args.scale;
          const Vec grad_p =
              dots<false, true>(scratch.grad_out + i * padded, {scratch.v, padded}, j, lo, hi, dim);
          const IVec mask = seen(j, lo, hi);
          probability = select(mask, exp(logits - lse), Vec{});
          slope = select(mask, probability * (grad_p - delta) * args.scale, Vec{});
        }
        store(p + j, probability);
        store(ds + j, slope);
      }
      if (lo < hi)
        weigh<false, true>(ds, {scratch.k, padded}, lo, hi, 1.0F, scratch.grad_q + i * padded, dim);
    }
    for (int64_t j = first; j < last; ++j) {
      gather(scratch.ds + j, scratch.q, queries, padded, dim, args.grad_k + offset + j * stride);
      gather(scratch.p + j, scratch.grad_out, queries, padded, dim, args.grad_v + offset + j * stride);
    }
  }
  for (int64_t i = 0; i < queries; ++i) {
    float* grad_q = args.grad_q + index_of(i) * dim;
    for (int64_t d = 0; d < dim; d += kLanes) {
      store_n(grad_q + d, load(scratch.grad_q + i * padded + d), lanes_left(dim - d));
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
