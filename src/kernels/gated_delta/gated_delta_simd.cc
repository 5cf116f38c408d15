#include "kernels/gated_delta/gated_delta_terms.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

// Lanes are columns of the state, which know nothing of each other but for what backward sums. A vector of
// columns is copied together, [key_dim] vectors, and stays in a cache over all rows.
constexpr float kEps = 1e-6F;
constexpr float kLog2E = 1.44269504088896341F;
constexpr int kSums = 4;  // interleaved: enough to hide the latency of fma

// Up to kLanes columns of one head.
struct Place {
  int64_t head, column, lanes;
  __attribute__((always_inline)) int64_t keys_at(const DeltaShape& shape, int64_t row) const {
    return row * keys_of(shape) + head * shape.key_dim;
  }
  __attribute__((always_inline)) int64_t values_at(const DeltaShape& shape, int64_t row) const {
    return row * values_of(shape) + head * shape.value_dim + column;
  }
};

FATHOM_INLINE void load_state(const float* base, const DeltaShape& shape, const Place& p, float* s) {
  const float* from = base + p.head * shape.key_dim * shape.value_dim + p.column;
  for (int64_t i = 0; i < shape.key_dim; ++i)
    store(s + i * kLanes, load_n(from + i * shape.value_dim, p.lanes));
}
FATHOM_INLINE void store_state(float* base, const DeltaShape& shape, const Place& p, const float* s) {
  float* to = base + p.head * shape.key_dim * shape.value_dim + p.column;
  for (int64_t i = 0; i < shape.key_dim; ++i)
    store_n(to + i * shape.value_dim, load(s + i * kLanes), p.lanes);
}
FATHOM_INLINE void clear_state(const DeltaShape& shape, float* s) {
  for (int64_t i = 0; i < shape.key_dim; ++i) store(s + i * kLanes, Vec{});
}

// sum_i x[i] s[i]
FATHOM_INLINE Vec recall(const float* x, const float* s, int64_t count) {
  Vec sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] = fma(broadcast(x[i + j]), load(s + (i + j) * kLanes), sums[j]);
  }
  for (; i < count; ++i) sums[0] = fma(broadcast(x[i]), load(s + i * kLanes), sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// e of one row.
FATHOM_INLINE Vec error_of(const float* k, Vec v, const float* s, const Terms& terms, int64_t count) {
  return v - recall(k, s, count) * (terms.alpha * terms.k);
}
// The state after a row, which may overwrite the one before; kRecall: returns sum_i q[i] s[i] of it.
template <bool kRecall>
FATHOM_INLINE Vec advance(const float* k, const float* q, Vec error, const Terms& terms, const float* before,
                          float* after, int64_t count) {
  const Vec change = error * (terms.beta * terms.k), alpha = broadcast(terms.alpha);
  Vec sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      const Vec s = fma(broadcast(k[i + j]), change, load(before + (i + j) * kLanes) * alpha);
      store(after + (i + j) * kLanes, s);
      if (kRecall) sums[j] = fma(broadcast(q[i + j]), s, sums[j]);
    }
  }
  for (; i < count; ++i) {
    const Vec s = fma(broadcast(k[i]), change, load(before + i * kLanes) * alpha);
    store(after + i * kLanes, s);
    if (kRecall) sums[0] = fma(broadcast(q[i]), s, sums[0]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

FATHOM_INLINE void fwd_place(const GatedDeltaFwd& args, const Place& p, float* s) {
  const DeltaShape& shape = args.shape;
  float* checkpoint = args.checkpoints;
  for (int64_t n = 0; n < args.num_sequences; ++n) {
    const DeltaSequence sequence = args.sequences[n];
    if (sequence.state != nullptr) {
      load_state(sequence.state, shape, p, s);
    } else {
      clear_state(shape, s);
    }
    for (int64_t row = sequence.rows.begin; row < sequence.rows.end; ++row) {
      if (checkpoint != nullptr && (row - sequence.rows.begin) % kDeltaChunk == 0) {
        store_state(checkpoint, shape, p, s);
        checkpoint += shape.heads * shape.key_dim * shape.value_dim;
      }
      const Terms terms = terms_at(args.terms, shape, row, p.head);
      const float* k = args.k + p.keys_at(shape, row);
      const Vec v = load_n(args.v + p.values_at(shape, row), p.lanes);
      const Vec error = error_of(k, v, s, terms, shape.key_dim);
      const Vec y =
          advance<true>(k, args.q + p.keys_at(shape, row), error, terms, s, s, shape.key_dim) * terms.q;
      store_n(args.y + p.values_at(shape, row), y, p.lanes);
    }
    if (sequence.state != nullptr) store_state(sequence.state, shape, p, s);
  }
}

}  // namespace

void gated_delta_terms_rows(const GatedDeltaFwd& args, int64_t begin, int64_t end) {
  const DeltaShape& shape = args.shape;
  const int64_t heads = shape.heads, dim = shape.key_dim;
  const float scale = 1.0F / __builtin_sqrtf((float)dim);
  for (int64_t row = begin; row < end; ++row) {
    float* terms = args.terms + row * kDeltaTerms * heads;
    for (int64_t i = 0; i < heads; ++i) {
      const float* q = args.q + (row * heads + i) * dim;
      const float* k = args.k + (row * heads + i) * dim;
      terms[i] = scale / __builtin_sqrtf(product(q, q, dim) + kEps);
      terms[heads + i] = 1.0F / __builtin_sqrtf(product(k, k, dim) + kEps);
    }
    for (int64_t i = 0; i < heads; i += kLanes) {
      const int64_t n = lanes_left(heads - i);
      const Vec delta = softplus(load_n(args.dt + row * heads + i, n) + load_n(args.dt_bias + i, n));
      store_n(terms + 2 * heads + i, delta, n);
      store_n(terms + 3 * heads + i, exp2_nonpositive(delta * (load_n(args.a + i, n) * kLog2E)), n);
      store_n(terms + 4 * heads + i, sigmoid(load_n(args.b + row * heads + i, n)) * 2.0F, n);
    }
  }
}

void gated_delta_fwd_columns(const GatedDeltaFwd& args, int64_t head, int64_t begin, int64_t end,
                             float* scratch) {
  for (int64_t c = begin; c < end; c += kLanes) fwd_place(args, {head, c, lanes_left(end - c)}, scratch);
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
