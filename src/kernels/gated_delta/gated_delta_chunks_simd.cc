// A chunk of rows at once: its recurrence written as products of matrices and one triangular system
// (README.md).
#include "kernels/gated_delta/gated_delta_terms.h"
#include "kernels/simd/chunk_decays.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

// What the rows of a chunk have one of, of one head. Behind the last row nothing is written.
struct ChunkTerms {
  float q[kDeltaChunk], k[kDeltaChunk];  // the factors of q and k
  float beta[kDeltaChunk];
  float kept[kDeltaChunk];  // beta, and the decays behind the row
  ChunkDecays<kDeltaChunk> alpha;
};

FATHOM_INLINE void load_terms(const float* terms, const DeltaShape& shape, int64_t head, int64_t from,
                              int64_t rows, ChunkTerms& c) {
  for (int64_t t = 0; t < kDeltaChunk; ++t) {
    const Terms row = t < rows ? terms_at(terms, shape, from + t, head) : Terms{0, 0, 0, 1, 0};
    c.q[t] = row.q;
    c.k[t] = row.k;
    c.alpha.decay[t] = row.alpha;
    c.beta[t] = row.beta;
  }
  fill_spans(c.alpha);
  for (int64_t t = 0; t < kDeltaChunk; ++t) c.kept[t] = c.alpha.until[t] * c.beta[t];
}

// The two scores of a chunk and head, as matrices: what is found, what is read.
FATHOM_INLINE Matrix found_in(float* scores) { return {scores, kDeltaChunk}; }
FATHOM_INLINE Matrix read_in(float* scores) { return {scores + kDeltaChunk * kDeltaChunk, kDeltaChunk}; }
FATHOM_INLINE const float* found_row(const float* scores, int64_t t) { return scores + t * kDeltaChunk; }
FATHOM_INLINE const float* read_row(const float* scores, int64_t t) {
  return scores + (kDeltaChunk + t) * kDeltaChunk;
}

// Rows of a chunk, of q or k of one head.
FATHOM_INLINE void copy_keys(const float* x, const DeltaShape& shape, int64_t head, int64_t from,
                             int64_t rows, const float* factors, Matrix to) {
  copy_in(x + from * keys_of(shape) + head * shape.key_dim, keys_of(shape), rows, shape.key_dim, to, factors);
}

// One block of columns of a head's state, and the matrices that its chunks need.
struct Block {
  int64_t head, begin, columns;
  Matrix q, k;          // [rows, keys], normalised
  Matrix state;         // [keys, columns]: before the chunk
  Matrix error, other;  // [rows, columns]; other: forward y, backward the gradient of e, then of v
  Matrix stored, read;  // [rows, rows]: what a row finds of those before it, negative, and what it reads
  // Backward only.
  Matrix grad;              // [keys, columns]: of the state behind the chunk
  Matrix turned;            // [columns, keys]: one of these two
  Matrix grad_y;            // [rows, columns]
  Matrix turned_error;      // [columns, rows]
  Matrix share_q, share_k;  // [rows, keys]
};

FATHOM_INLINE Block block_of(const DeltaShape& shape, const DeltaBlock& place, float* memory) {
  Scratch scratch{memory};
  const int64_t keys = shape.key_dim, columns = kDeltaColumns, rows = kDeltaChunk;
  return {.head = place.head,
          .begin = place.begin,
          .columns = place.end - place.begin,
          .q = scratch.take(rows, keys),
          .k = scratch.take(rows, keys),
          .state = scratch.take(keys, columns),
          .error = scratch.take(rows, columns),
          .other = scratch.take(rows, columns),
          .stored = scratch.take(rows, rows),
          .read = scratch.take(rows, rows),
          .grad = scratch.take(keys, columns),
          .turned = scratch.take(columns, keys),
          .grad_y = scratch.take(rows, columns),
          .turned_error = scratch.take(columns, rows),
          .share_q = scratch.take(rows, keys),
          .share_k = scratch.take(rows, keys)};
}

// Fills q, k, stored, read and error from b.state: (1 + stored) e = v - since K S.
FATHOM_INLINE void find_errors(const DeltaKeys& given, const float* v, const Block& b, int64_t from,
                               int64_t rows, const float* scores, const ChunkTerms& c) {
  const DeltaShape& shape = given.shape;
  const int64_t size = padded(rows), keys = padded(shape.key_dim), columns = padded(b.columns);
  copy_keys(given.q, shape, b.head, from, rows, c.q, b.q);
  copy_keys(given.k, shape, b.head, from, rows, c.k, b.k);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t i = 0; i < size; i += kLanes) {
      const Vec beta = load(c.beta + i);
      store(b.stored.row(t) + i, load(found_row(scores, t) + i) * -beta);
      store(b.read.row(t) + i, load(read_row(scores, t) + i) * beta);
    }
  }
  copy_in(v + from * values_of(shape) + b.head * shape.value_dim + b.begin, values_of(shape), rows, b.columns,
          b.error);
  multiply<Into::kPut>(as_is(b.k), b.state, b.other, size, columns, keys);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      float* e = b.error.row(t) + j;
      store(e, load(e) - load(b.other.row(t) + j) * c.alpha.since[t]);
    }
  }
  solve<Part::kLower>(as_is(b.stored), b.error, size, columns);
}

// Rows [from, from + rows): y; b.state becomes that behind them.
FATHOM_INLINE void fwd_chunk(const GatedDeltaFwd& args, const Block& b, int64_t from, int64_t rows,
                             const float* scores) {
  const DeltaShape& shape = args.shape;
  const int64_t size = padded(rows), keys = padded(shape.key_dim), columns = padded(b.columns);
  ChunkTerms c;
  load_terms(args.terms, shape, b.head, from, rows, c);
  find_errors({args.q, args.k, args.terms, shape}, args.v, b, from, rows, scores, c);
  multiply<Into::kPut>(as_is(b.q), b.state, b.other, size, columns, keys);
  scale_rows(b.other, size, columns, c.alpha.since);
  multiply<Into::kAdd, Part::kLower>(as_is(b.read), b.error, b.other, size, columns, size);
  copy_out<Into::kPut>(b.other, rows, b.columns,
                       args.y + from * values_of(shape) + b.head * shape.value_dim + b.begin,
                       values_of(shape));
  scale_rows(b.error, size, columns, c.kept);
  scale(b.state, keys, columns, c.alpha.since[rows - 1]);
  multiply<Into::kAdd>(transposed(b.k), b.error, b.state, keys, columns, size);
}

// Rows [from, from + rows): what the block adds to the gradients; b.grad becomes that of the state before
// them.
FATHOM_INLINE void bwd_chunk(const GatedDeltaBwd& args, const Block& b, int64_t from, int64_t rows,
                             const float* checkpoint, const float* scores, float* grad_scores,
                             const DeltaPartials& partials) {
  const DeltaShape& shape = args.shape;
  const int64_t size = padded(rows), keys = padded(shape.key_dim), columns = padded(b.columns);
  const int64_t values_at = from * values_of(shape) + b.head * shape.value_dim + b.begin;
  const int64_t keys_at = from * keys_of(shape) + b.head * shape.key_dim,
                one_at = from * shape.heads + b.head;
  ChunkTerms c;
  load_terms(args.terms, shape, b.head, from, rows, c);
  copy_in(checkpoint + b.head * shape.key_dim * shape.value_dim + b.begin, shape.value_dim, shape.key_dim,
          b.columns, b.state);
  find_errors({args.q, args.k, args.terms, shape}, args.v, b, from, rows, scores, c);
  copy_in(args.grad_y + values_at, values_of(shape), rows, b.columns, b.grad_y);

  // Gradients of the errors, by way of the rows that read them and of the state behind the chunk; then those
  // of v.
  multiply<Into::kPut>(as_is(b.k), b.grad, b.other, size, columns, keys);
  for (int64_t t = 0; t < rows; ++t) {
    partials.beta[one_at + t * shape.heads] += sum(products_of(b.other.row(t), b.error.row(t), columns));
  }
  scale_rows(b.other, size, columns, c.kept);
  multiply<Into::kAdd, Part::kUpper>(transposed(b.read), b.grad_y, b.other, size, columns, size);
  solve<Part::kUpper>(transposed(b.stored), b.other, size, columns);
  copy_out<Into::kPut>(b.other, rows, b.columns, args.grad_v + values_at, values_of(shape));

  // From here on `other` is what - since K S and - stored e are met with.
  scale(b.other, size, columns, -1.0F);
  transpose_to(b.error, b.turned_error, size, columns);
  multiply<Into::kPut>(as_is(b.other), b.turned_error, found_in(grad_scores), size, size, columns);
  multiply<Into::kPut>(as_is(b.grad_y), b.turned_error, read_in(grad_scores), size, size, columns);

  // Gradients of q and k by way of the two states; those of the decays since the start.
  transpose_to(b.state, b.turned, keys, columns);
  multiply<Into::kPut>(as_is(b.grad_y), b.turned, b.share_q, size, keys, columns);
  multiply<Into::kPut>(as_is(b.other), b.turned, b.share_k, size, keys, columns);
  scale_rows(b.share_q, size, keys, c.alpha.since);
  scale_rows(b.share_k, size, keys, c.alpha.since);
  float* const grad_alpha = partials.alpha + one_at;
  for (int64_t t = 0; t < rows; ++t) {
    grad_alpha[t * shape.heads] += sum(products_of(b.q.row(t), b.share_q.row(t), keys) +
                                       products_of(b.k.row(t), b.share_k.row(t), keys));
  }
  Vec along = {};
  for (int64_t i = 0; i < keys; ++i) along = along + products_of(b.grad.row(i), b.state.row(i), columns);
  grad_alpha[(rows - 1) * shape.heads] += sum(along) * c.alpha.since[rows - 1];
  transpose_to(b.grad, b.turned, keys, columns);
  scale_rows(b.error, size, columns, c.kept);
  multiply<Into::kAdd>(as_is(b.error), b.turned, b.share_k, size, keys, columns);
  copy_out<Into::kAdd>(b.share_q, rows, shape.key_dim, partials.q + keys_at, keys_of(shape));
  copy_out<Into::kAdd>(b.share_k, rows, shape.key_dim, partials.k + keys_at, keys_of(shape));

  scale_rows(b.grad_y, size, columns, c.alpha.since);
  scale_rows(b.other, size, columns, c.alpha.since);
  scale(b.grad, keys, columns, c.alpha.since[rows - 1]);
  multiply<Into::kAdd>(transposed(b.q), b.grad_y, b.grad, keys, columns, size);
  multiply<Into::kAdd>(transposed(b.k), b.other, b.grad, keys, columns, size);
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

void gated_delta_scores(const DeltaKeys& given, int64_t head, RowRange rows, float* scores, float* memory) {
  const DeltaShape& shape = given.shape;
  const int64_t count = rows.end - rows.begin, size = padded(count), keys = padded(shape.key_dim);
  Scratch scratch{memory};
  const Matrix q = scratch.take(kDeltaChunk, shape.key_dim), k = scratch.take(kDeltaChunk, shape.key_dim),
               turned = scratch.take(shape.key_dim, kDeltaChunk),
               fade = scratch.take(kDeltaChunk, kDeltaChunk);
  ChunkTerms c;
  load_terms(given.terms, shape, head, rows.begin, count, c);
  copy_keys(given.q, shape, head, rows.begin, count, c.q, q);
  copy_keys(given.k, shape, head, rows.begin, count, c.k, k);
  transpose_to(k, turned, size, keys);
  fill_fade(c.alpha, size, fade);
  const Matrix found = found_in(scores), read = read_in(scores);
  multiply<Into::kPut>(as_is(k), turned, found, size, size, keys);
  multiply<Into::kPut>(as_is(q), turned, read, size, size, keys);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t s = 0; s < size; s += kLanes) {
      const Vec f = load(fade.row(t) + s);
      store(found.row(t) + s, load(found.row(t) + s) * f);
      store(read.row(t) + s, load(read.row(t) + s) * f);
    }
    found.row(t)[t] = 0.0F;
  }
}

void gated_delta_fwd_chunks(const GatedDeltaFwd& args, const DeltaBlock& place, const float* scores,
                            float* memory) {
  const DeltaShape& shape = args.shape;
  const Block block = block_of(shape, place, memory);
  const DeltaSequence sequence = args.sequences[place.sequence];
  const int64_t state_at = place.head * shape.key_dim * shape.value_dim + place.begin;
  const int64_t state_size = shape.heads * shape.key_dim * shape.value_dim;
  if (sequence.state != nullptr) {
    copy_in(sequence.state + state_at, shape.value_dim, shape.key_dim, block.columns, block.state);
  } else {
    clear(block.state, padded(shape.key_dim), padded(block.columns));
  }
  int64_t chunk = place.chunk;
  for (int64_t from = sequence.rows.begin; from < sequence.rows.end; from += kDeltaChunk, ++chunk) {
    if (args.checkpoints != nullptr) {
      copy_out<Into::kPut>(block.state, shape.key_dim, block.columns,
                           args.checkpoints + chunk * state_size + state_at, shape.value_dim);
    }
    fwd_chunk(args, block, from, smaller(kDeltaChunk, sequence.rows.end - from),
              scores + (chunk * shape.heads + place.head) * kDeltaScores);
  }
  if (sequence.state != nullptr) {
    copy_out<Into::kPut>(block.state, shape.key_dim, block.columns, sequence.state + state_at,
                         shape.value_dim);
  }
}

void gated_delta_bwd_chunks(const GatedDeltaBwd& args, const DeltaBlock& place, const float* scores,
                            const DeltaPartials& partials, float* memory) {
  const DeltaShape& shape = args.shape;
  const Block block = block_of(shape, place, memory);
  const RowRange rows = args.sequences[place.sequence];
  const int64_t state_size = shape.heads * shape.key_dim * shape.value_dim;
  clear(block.grad, padded(shape.key_dim), padded(block.columns));
  for (int64_t n = (rows.end - rows.begin + kDeltaChunk - 1) / kDeltaChunk - 1; n >= 0; --n) {
    const int64_t from = rows.begin + n * kDeltaChunk, chunk = place.chunk + n;
    const int64_t at = (chunk * shape.heads + place.head) * kDeltaScores;
    bwd_chunk(args, block, from, smaller(kDeltaChunk, rows.end - from), args.checkpoints + chunk * state_size,
              scores + at, partials.scores + at, partials);
  }
}

void gated_delta_bwd_scores(const GatedDeltaBwd& args, int64_t head, RowRange rows, const float* scores,
                            float* grad_scores, float* memory) {
  const DeltaShape& shape = args.shape;
  const int64_t count = rows.end - rows.begin, size = padded(count), keys = padded(shape.key_dim);
  const int64_t keys_at = rows.begin * keys_of(shape) + head * shape.key_dim,
                one_at = rows.begin * shape.heads + head;
  Scratch scratch{memory};
  const Matrix q = scratch.take(kDeltaChunk, shape.key_dim), k = scratch.take(kDeltaChunk, shape.key_dim),
               share = scratch.take(kDeltaChunk, shape.key_dim),
               fade = scratch.take(kDeltaChunk, kDeltaChunk);
  const Matrix grad_found = found_in(grad_scores), grad_read = read_in(grad_scores);
  ChunkTerms c;
  load_terms(args.terms, shape, head, rows.begin, count, c);

  float from_start[kDeltaChunk], to_end[kDeltaChunk], grad_alpha[kDeltaChunk], grad_beta[kDeltaChunk];
  for (int64_t t = 0; t < count; ++t) {
    from_start[t] = args.grad_dt[one_at + t * shape.heads];
    to_end[t] = args.grad_b[one_at + t * shape.heads] * c.alpha.until[t];
  }
  const auto pair = [&](int64_t t, int64_t s) __attribute__((always_inline)) {
    return fma(load(grad_found.row(t) + s), load(found_row(scores, t) + s),
               load(grad_read.row(t) + s) * load(read_row(scores, t) + s));
  };
  bwd_spans<kDeltaChunk>(count, c.beta, pair, from_start, to_end, grad_alpha, grad_beta);
  for (int64_t t = 0; t < count; ++t) {
    args.grad_dt[one_at + t * shape.heads] = grad_alpha[t];
    args.grad_b[one_at + t * shape.heads] = grad_beta[t];
  }

  fill_fade(c.alpha, size, fade);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t s = 0; s < size; s += kLanes) {
      const Vec f = load(fade.row(t) + s) * load(c.beta + s);
      store(grad_found.row(t) + s, select(first_lanes(t - s), load(grad_found.row(t) + s) * f, Vec{}));
      store(grad_read.row(t) + s, select(first_lanes(t + 1 - s), load(grad_read.row(t) + s) * f, Vec{}));
    }
  }
  copy_keys(args.q, shape, head, rows.begin, count, c.q, q);
  copy_keys(args.k, shape, head, rows.begin, count, c.k, k);
  multiply<Into::kPut, Part::kLower>(as_is(grad_read), k, share, size, keys, size);
  copy_out<Into::kAdd>(share, count, shape.key_dim, args.grad_q + keys_at, keys_of(shape));
  multiply<Into::kPut, Part::kLower>(as_is(grad_found), k, share, size, keys, size);
  multiply<Into::kAdd, Part::kUpper>(transposed(grad_found), k, share, size, keys, size);
  multiply<Into::kAdd, Part::kUpper>(transposed(grad_read), q, share, size, keys, size);
  copy_out<Into::kAdd>(share, count, shape.key_dim, args.grad_k + keys_at, keys_of(shape));
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
      const float grad = args.grad_dt[one];  // with respect to a delta
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
