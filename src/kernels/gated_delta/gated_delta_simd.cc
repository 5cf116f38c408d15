#include "kernels/gated_delta/gated_delta_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Lanes are columns of the state, which know nothing of each other but for what backward sums. A vector of
// columns is copied together, [key_dim] vectors, and stays in a cache over all rows.
constexpr float kEps = 1e-6F;
constexpr float kLog2E = 1.44269504088896341F;
constexpr int kSums = 4;  // interleaved: enough to hide the latency of fma

// Not the shape's own functions: a level's object must not share them.
FATHOM_INLINE int64_t keys_of(const DeltaShape& shape) { return shape.heads * shape.key_dim; }
FATHOM_INLINE int64_t values_of(const DeltaShape& shape) { return shape.heads * shape.value_dim; }

FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// What a head has one of at a row.
struct Terms {
  float q, k, delta, alpha, beta;
};
FATHOM_INLINE Terms terms_at(const float* terms, const DeltaShape& shape, int64_t row, int64_t head) {
  const float* first = terms + row * kDeltaTerms * shape.heads + head;
  return {first[0], first[shape.heads], first[2 * shape.heads], first[3 * shape.heads],
          first[4 * shape.heads]};
}

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

// The rows of one chunk, recomputed: state(t) is the one before row t.
struct Replay {
  float* states;  // [kDeltaChunk + 1, key_dim] vectors
  float* errors;  // [kDeltaChunk] vectors
  int64_t size;   // of a state
  __attribute__((always_inline)) float* state(int64_t t) const { return states + t * size; }
};

FATHOM_INLINE void replay_chunk(const GatedDeltaBwd& args, const Place& p, int64_t from, int64_t to,
                                const float* checkpoint, const Replay& past) {
  const DeltaShape& shape = args.shape;
  load_state(checkpoint, shape, p, past.state(0));
  for (int64_t row = from; row < to; ++row) {
    const int64_t t = row - from;
    const Terms terms = terms_at(args.terms, shape, row, p.head);
    const float* k = args.k + p.keys_at(shape, row);
    const Vec v = load_n(args.v + p.values_at(shape, row), p.lanes);
    const Vec error = error_of(k, v, past.state(t), terms, shape.key_dim);
    store(past.errors + t * kLanes, error);
    advance<false>(k, nullptr, error, terms, past.state(t), past.state(t + 1), shape.key_dim);
  }
}

// sum_i k[i] g[i] of g[i] = grad[i] + q[i] * scaled.
FATHOM_INLINE Vec recall_after(const float* q, Vec scaled, const float* k, const float* grad, int64_t count) {
  Vec sums[kSums] = {};
  const auto add = [&](int64_t i, Vec & sum) __attribute__((always_inline)) {
    sum = fma(broadcast(k[i]), fma(broadcast(q[i]), scaled, load(grad + i * kLanes)), sum);
  };
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) add(i + j, sums[j]);
  }
  for (; i < count; ++i) add(i, sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// What a row going back has for all keys alike.
struct BackwardRow {
  Vec grad_y, scaled, change, decayed, back, alpha;  // back, decayed: negative
  const float *q, *k, *before, *after;
  float* grad;
};

// One key: its shares of the gradients of q^ and k^; grad becomes dL/dS of the row before.
FATHOM_INLINE void bwd_key(const BackwardRow& r, int64_t i, Vec& share_q, Vec& share_k, Vec& grad_alpha) {
  const int64_t at = i * kLanes;
  const Vec g = fma(broadcast(r.q[i]), r.scaled, load(r.grad + at)), s = load(r.before + at);
  share_q = r.grad_y * load(r.after + at);
  share_k = fma(g, r.change, s * r.decayed);
  const Vec through = fma(broadcast(r.k[i]), r.back, g);  // with respect to alpha S
  grad_alpha = fma(through, s, grad_alpha);
  store(r.grad + at, through * r.alpha);
}

FATHOM_INLINE void add_to(float* out, Vec value, int64_t n) { store_n(out, load_n(out, n) + value, n); }

// One row going back; `grad` becomes dL/dS of the row before.
FATHOM_INLINE void bwd_row(const GatedDeltaBwd& args, const Place& p, int64_t row, const float* before,
                           const float* after, Vec error, const DeltaPartials& partials, float* grad) {
  const DeltaShape& shape = args.shape;
  const int64_t at = p.keys_at(shape, row), count = shape.key_dim;
  const Terms terms = terms_at(args.terms, shape, row, p.head);
  const float *q = args.q + at, *k = args.k + at;
  const Vec grad_y = load_n(args.grad_y + p.values_at(shape, row), p.lanes), scaled = grad_y * terms.q;
  const Vec grad_change = recall_after(q, scaled, k, grad, count) * terms.k;  // with respect to beta e
  const Vec grad_error = grad_change * terms.beta;
  store_n(args.grad_v + p.values_at(shape, row), grad_error, p.lanes);
  const BackwardRow r{grad_y,
                      scaled,
                      error * terms.beta,
                      grad_error * -terms.alpha,
                      grad_error * -terms.k,
                      broadcast(terms.alpha),
                      q,
                      k,
                      before,
                      after,
                      grad};
  Vec grad_alpha = {};
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t n = lanes_left(count - first);
    Vec share_q[kLanes], share_k[kLanes];
    for (int64_t i = n; i < kLanes; ++i) share_q[i] = share_k[i] = Vec{};
    for (int64_t i = 0; i < n; ++i) bwd_key(r, first + i, share_q[i], share_k[i], grad_alpha);
    add_to(partials.q + at + first, sum_each(share_q), n);
    add_to(partials.k + at + first, sum_each(share_k), n);
  }
  partials.alpha[row * shape.heads + p.head] += sum(grad_alpha);
  partials.beta[row * shape.heads + p.head] += sum(grad_change * error);
}

FATHOM_INLINE void bwd_place(const GatedDeltaBwd& args, const Place& p, const DeltaPartials& partials,
                             float* scratch) {
  const DeltaShape& shape = args.shape;
  const int64_t size = shape.key_dim * kLanes;
  float* const grad = scratch + (kDeltaChunk + 1) * size;
  const Replay past{scratch, grad + size, size};
  const float* checkpoint = args.checkpoints;
  for (int64_t n = 0; n < args.num_sequences; ++n) {
    const RowRange rows = args.sequences[n];
    const int64_t chunks = (rows.end - rows.begin + kDeltaChunk - 1) / kDeltaChunk;
    clear_state(shape, grad);
    for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
      const int64_t from = rows.begin + chunk * kDeltaChunk, to = smaller(from + kDeltaChunk, rows.end);
      replay_chunk(args, p, from, to, checkpoint + chunk * shape.heads * shape.key_dim * shape.value_dim,
                   past);
      for (int64_t row = to - 1; row >= from; --row) {
        const int64_t t = row - from;
        bwd_row(args, p, row, past.state(t), past.state(t + 1), load(past.errors + t * kLanes), partials,
                grad);
      }
    }
    checkpoint += chunks * shape.heads * shape.key_dim * shape.value_dim;
  }
}

FATHOM_INLINE float product(const float* a, const float* b, int64_t count) {
  Vec total = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = lanes_left(count - i);
    total = fma(load_n(a + i, n), load_n(b + i, n), total);
  }
  return sum(total);
}

// grad, dL/dx^ of x^ = factor x with factor = scale / sqrt(|x|^2 + eps), becomes dL/dx.
FATHOM_INLINE void through_norm(const float* x, float factor, float inverse_scale_squared, float* grad,
                                int64_t count) {
  const float along = product(x, grad, count) * factor * factor * inverse_scale_squared;
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = lanes_left(count - i);
    store_n(grad + i, (load_n(grad + i, n) - load_n(x + i, n) * along) * factor, n);
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

void gated_delta_bwd_columns(const GatedDeltaBwd& args, int64_t head, int64_t begin, int64_t end,
                             const DeltaPartials& partials, float* scratch) {
  for (int64_t c = begin; c < end; c += kLanes)
    bwd_place(args, {head, c, lanes_left(end - c)}, partials, scratch);
}

void gated_delta_bwd_norms(const GatedDeltaBwd& args, int64_t begin, int64_t end) {
  const int64_t heads = args.shape.heads, dim = args.shape.key_dim;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t i = 0; i < heads; ++i) {
      const Terms terms = terms_at(args.terms, args.shape, row, i);
      const int64_t at = (row * heads + i) * dim;
      through_norm(args.q + at, terms.q, (float)dim, args.grad_q + at, dim);
      through_norm(args.k + at, terms.k, 1.0F, args.grad_k + at, dim);
    }
  }
}

void gated_delta_bwd_terms(const GatedDeltaBwd& args, int64_t head) {
  const int64_t heads = args.shape.heads;
  const float a = args.a[head];
  double grad_rate = 0, grad_bias = 0;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    for (int64_t row = args.sequences[s].begin; row < args.sequences[s].end; ++row) {
      const Terms terms = terms_at(args.terms, args.shape, row, head);
      const int64_t one = row * heads + head;
      const float grad = args.grad_dt[one] * terms.alpha;  // with respect to a delta
      const float pre = args.dt[one] + args.dt_bias[head];
      const float slope = pre > 20.0F ? 1.0F : sigmoid(broadcast(pre))[0];
      grad_rate += (double)grad * terms.delta;
      args.grad_dt[one] = grad * a * slope;
      grad_bias += args.grad_dt[one];
      args.grad_b[one] *= terms.beta * (1.0F - terms.beta * 0.5F);
    }
  }
  args.grad_a_log[head] = (float)(grad_rate * a);
  args.grad_dt_bias[head] = (float)grad_bias;
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
