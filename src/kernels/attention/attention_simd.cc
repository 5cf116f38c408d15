#include "kernels/attention/attention_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

template <bool kBf16>
FATHOM_INLINE Vec load_kv(const void* base, int64_t index, int64_t n) {
  return kBf16 ? load_bf16_n((const uint16_t*)base + index, n) : load_n((const float*)base + index, n);
}

// q . k_j for four keys that lie `stride` apart: four chains of fma, each summed in the one order of a dot
// product.
template <bool kBf16>
FATHOM_INLINE void dot4(const float* q, const void* k, int64_t first, int64_t stride, int64_t dim,
                        float* out) {
  Vec a = {}, b = {}, c = {}, e = {};
  for (int64_t d = 0; d < dim; d += kLanes) {
    const int64_t n = lanes_left(dim - d);
    const Vec qv = load_n(q + d, n);
    a = fma(qv, load_kv<kBf16>(k, first + d, n), a);
    b = fma(qv, load_kv<kBf16>(k, first + stride + d, n), b);
    c = fma(qv, load_kv<kBf16>(k, first + 2 * stride + d, n), c);
    e = fma(qv, load_kv<kBf16>(k, first + 3 * stride + d, n), e);
  }
  out[0] = sum(a);
  out[1] = sum(b);
  out[2] = sum(c);
  out[3] = sum(e);
}

template <bool kBf16>
FATHOM_INLINE float dot1(const float* q, const void* k, int64_t first, int64_t dim) {
  Vec a = {};
  for (int64_t d = 0; d < dim; d += kLanes) {
    const int64_t n = lanes_left(dim - d);
    a = fma(load_n(q + d, n), load_kv<kBf16>(k, first + d, n), a);
  }
  return sum(a);
}

// out[j] = q . k_j for j in [lo, hi), entries `stride` apart from `first`.
template <bool kBf16>
FATHOM_INLINE void dots(const float* q, const void* k, int64_t first, int64_t stride, int64_t lo, int64_t hi,
                        int64_t dim, float* out) {
  int64_t j = lo;
  for (; j + 4 <= hi; j += 4) dot4<kBf16>(q, k, first + j * stride, stride, dim, out + j);
  for (; j < hi; ++j) out[j] = dot1<kBf16>(q, k, first + j * stride, dim);
}

// acc[d] = acc[d] * scale + sum_j p[j] v_j[d], j in order; the accumulators of a strip of dimensions stay in
// registers.
template <bool kBf16, int kStrip>
FATHOM_INLINE void weigh_strip(const float* p, const void* v, int64_t first, int64_t stride, int64_t lo,
                               int64_t hi, float scale, float* acc) {
  Vec total[kStrip];
  for (int i = 0; i < kStrip; ++i) total[i] = load(acc + i * kLanes) * scale;
  for (int64_t j = lo; j < hi; ++j) {
    const Vec weight = broadcast(p[j]);
    for (int i = 0; i < kStrip; ++i) {
      total[i] = fma(weight, load_kv<kBf16>(v, first + j * stride + i * kLanes, kLanes), total[i]);
    }
  }
  for (int i = 0; i < kStrip; ++i) store(acc + i * kLanes, total[i]);
}

template <bool kBf16>
FATHOM_INLINE void weigh(const float* p, const void* v, int64_t first, int64_t stride, int64_t lo, int64_t hi,
                         float scale, float* acc, int64_t dim) {
  int64_t d = 0;
  for (; d + 8 * kLanes <= dim; d += 8 * kLanes) {
    weigh_strip<kBf16, 8>(p, v, first + d, stride, lo, hi, scale, acc + d);
  }
  for (; d + kLanes <= dim; d += kLanes)
    weigh_strip<kBf16, 1>(p, v, first + d, stride, lo, hi, scale, acc + d);
  if (d < dim) {
    const int64_t n = dim - d;
    Vec total = load_n(acc + d, n) * scale;
    for (int64_t j = lo; j < hi; ++j) {
      total = fma(broadcast(p[j]), load_kv<kBf16>(v, first + d + j * stride, n), total);
    }
    store_n(acc + d, total, n);
  }
}

template <bool kBf16>
FATHOM_INLINE SoftmaxPart part(const AttentionFwd& args, int64_t row, int64_t head, int64_t begin,
                               int64_t end, float* acc, float* scores) {
  const int64_t dim = args.head_dim, stride = args.kv_heads * dim;
  const int64_t first = head / (args.heads / args.kv_heads) * dim;
  const float* q = args.q + (row * args.heads + head) * dim;
  const KeyList& keys = args.sequences[args.row_sequence != nullptr ? args.row_sequence[row] : 0];
  SoftmaxPart out = {-__builtin_inff(), 0.0F};
  for (int64_t d = 0; d < dim; ++d) acc[d] = 0.0F;
  for (int64_t block = begin / kKeyBlock; block * kKeyBlock < end; ++block) {
    const int64_t base = block * kKeyBlock;
    const int64_t lo = begin > base ? begin - base : 0;
    const int64_t hi = end < base + kKeyBlock ? end - base : kKeyBlock;
    // Entries outside [lo, hi) count as logits of minus infinity: their lanes add exact zeros below.
    const Vec nothing = broadcast(-__builtin_inff());
    for (int64_t j = 0; j < kKeyBlock; j += kLanes) store(scores + j, nothing);
    dots<kBf16>(q, keys.k_blocks[block], first, stride, lo, hi, dim, scores);
    Vec largest = nothing;
    for (int64_t j = 0; j < kKeyBlock; j += kLanes) {
      const Vec scaled = load(scores + j) * args.scale;
      store(scores + j, scaled);
      largest = max(largest, scaled);
    }
    const float block_max = max_lane(largest);
    const float new_max = block_max > out.max ? block_max : out.max;
    Vec total = {};
    for (int64_t j = 0; j < kKeyBlock; j += kLanes) {
      const Vec p = exp(load(scores + j) - new_max);
      store(scores + j, p);
      total = total + p;
    }
    const Vec scale = exp(broadcast(out.max - new_max));
    weigh<kBf16>(scores, keys.v_blocks[block], first, stride, lo, hi, scale[0], acc, dim);
    out.total = out.total * scale[0] + sum(total);
    out.max = new_max;
  }
  return out;
}

}  // namespace

SoftmaxPart attention_part(const AttentionFwd& args, int64_t row, int64_t head, int64_t begin, int64_t end,
                           float* acc, float* scores) {
  return args.kv_type == DType::kBF16 ? part<true>(args, row, head, begin, end, acc, scores)
                                      : part<false>(args, row, head, begin, end, acc, scores);
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

// Per block of keys: probabilities and their gradients, then the three products.
void attention_bwd_head(const AttentionBwd& args, int64_t sequence, int64_t kv_head, float* scratch) {
  const int64_t dim = args.head_dim, group = args.heads / args.kv_heads, stride = args.kv_heads * dim;
  const RowRange queries = args.query_rows[sequence], rows = args.key_rows[sequence];
  const int64_t base = rows.begin * stride + kv_head * dim;
  const float* k = args.k + base;
  const float* v = args.v + base;
  float* grad_k = args.grad_k + base;
  float* grad_v = args.grad_v + base;
  for (int64_t j = 0; j < rows.end - rows.begin; ++j) {
    for (int64_t d = 0; d < dim; ++d) grad_k[j * stride + d] = grad_v[j * stride + d] = 0.0F;
  }
  float* p = scratch;
  float* ds = scratch + kKeyBlock;
  for (int64_t r = queries.begin; r < queries.end; ++r) {
    const int64_t begin = args.key_begin[r], end = args.key_end[r];
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      const int64_t row = (r * args.heads + h) * dim;
      const float* q = args.q + row;
      const float* grad_out = args.grad_out + row;
      float* grad_q = args.grad_q + row;
      const float lse = args.lse[r * args.heads + h];
      const float delta = dot1<false>(args.out + row, grad_out, 0, dim);
      for (int64_t d = 0; d < dim; ++d) grad_q[d] = 0.0F;
      for (int64_t at = begin; at < end; at += kKeyBlock) {
        const int64_t count = end - at < kKeyBlock ? end - at : kKeyBlock;
        const int64_t first = at * stride;
        dots<false>(q, k, first, stride, 0, count, dim, p);
        dots<false>(grad_out, v, first, stride, 0, count, dim, ds);
        for (int64_t j = 0; j < count; j += kLanes) {
          const int64_t n = lanes_left(count - j);
          const Vec probability = exp(load_n(p + j, n) * args.scale - lse);
          store_n(p + j, probability, n);
          store_n(ds + j, probability * (load_n(ds + j, n) - delta) * args.scale, n);
        }
        weigh<false>(ds, k, first, stride, 0, count, 1.0F, grad_q, dim);
        for (int64_t j = 0; j < count; ++j) {
          float* gk = grad_k + first + j * stride;
          float* gv = grad_v + first + j * stride;
          const Vec weight = broadcast(p[j]), slope = broadcast(ds[j]);
          for (int64_t d = 0; d < dim; d += kLanes) {
            const int64_t n = lanes_left(dim - d);
            store_n(gk + d, fma(slope, load_n(q + d, n), load_n(gk + d, n)), n);
            store_n(gv + d, fma(weight, load_n(grad_out + d, n), load_n(gv + d, n)), n);
          }
        }
      }
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
