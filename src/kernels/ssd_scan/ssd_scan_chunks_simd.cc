// A chunk of rows at once: its recurrence written as products of matrices (README.md).
#include "kernels/simd/chunk_decays.h"
#include "kernels/ssd_scan/ssd_scan_levels.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Not the shape's own functions: a level's object must not share them.
FATHOM_INLINE int64_t inner_of(const SsdShape& shape) { return shape.heads * shape.head_dim; }
FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// What the rows of a chunk have one of, of one head. Behind the last row nothing is written.
struct ChunkTerms {
  float delta[kSsdChunk];
  float kept[kSsdChunk];  // delta, and the decays behind the row
  ChunkDecays<kSsdChunk> alpha;
};

FATHOM_INLINE void load_terms(const float* rates, const SsdShape& shape, int64_t head, int64_t from,
                              int64_t rows, ChunkTerms& c) {
  for (int64_t t = 0; t < kSsdChunk; ++t) {
    const int64_t at = (from + t) * 2 * shape.heads + head;
    c.delta[t] = t < rows ? rates[at] : 0.0F;
    c.alpha.decay[t] = t < rows ? rates[at + shape.heads] : 1.0F;
  }
  fill_spans(c.alpha);
  for (int64_t t = 0; t < kSsdChunk; ++t) c.kept[t] = c.alpha.until[t] * c.delta[t];
}

// Heads of one group, which share b and c, and the matrices that their chunks need.
struct Heads {
  int64_t begin, end;
  int64_t group;         // where their b and c stand in a row
  Matrix b, c;           // [rows, states]
  Matrix turned_b;       // [states, rows]
  Matrix scores;         // [rows, rows]: c b^T
  Matrix fade;           // [rows, rows]
  Matrix weights;        // [rows, rows]: scores fade delta, what a row takes of the inputs before it
  Matrix x, y;           // [rows, channels]; y: backward its gradient
  Matrix turned;         // [states, channels]: the state, or backward its gradient
  Matrix of[kSsdHeads];  // [channels, states]: of each head the state, or backward its gradient
  // Backward only.
  Matrix state;           // [channels, states]: before the chunk
  Matrix turned_x;        // [channels, rows]
  Matrix input;           // [rows, channels]: the gradient of x
  Matrix grad_weights;    // [rows, rows]
  Matrix grad_scores;     // [rows, rows]: sums over the heads, likewise grad_b and grad_c
  Matrix grad_b, grad_c;  // [rows, states]
  Matrix through;         // [rows, states]
};

FATHOM_INLINE Heads heads_of(const SsdShape& shape, const SsdPlace& place, float* memory) {
  Scratch scratch{memory};
  const int64_t rows = kSsdChunk, states = shape.state, channels = shape.head_dim;
  Heads h = {.begin = place.begin,
             .end = place.end,
             .group = place.begin / (shape.heads / shape.groups) * shape.state,
             .b = scratch.take(rows, states),
             .c = scratch.take(rows, states),
             .turned_b = scratch.take(states, rows),
             .scores = scratch.take(rows, rows),
             .fade = scratch.take(rows, rows),
             .weights = scratch.take(rows, rows),
             .x = scratch.take(rows, channels),
             .y = scratch.take(rows, channels),
             .turned = scratch.take(states, channels),
             .of = {},
             .state = scratch.take(channels, states),
             .turned_x = scratch.take(channels, rows),
             .input = scratch.take(rows, channels),
             .grad_weights = scratch.take(rows, rows),
             .grad_scores = scratch.take(rows, rows),
             .grad_b = scratch.take(rows, states),
             .grad_c = scratch.take(rows, states),
             .through = scratch.take(rows, states)};
  for (Matrix& of : h.of) of = scratch.take(channels, states);
  return h;
}

// b, c and their scores for rows [from, from + rows).
FATHOM_INLINE void load_group(const float* b, const float* c, const SsdShape& shape, const Heads& h,
                              int64_t from, int64_t rows) {
  const int64_t size = padded(rows), states = padded(shape.state), at = from * shape.x_stride + h.group;
  copy_in(b + at, shape.x_stride, rows, shape.state, h.b);
  copy_in(c + at, shape.x_stride, rows, shape.state, h.c);
  transpose_to(h.b, h.turned_b, size, states);
  multiply<Into::kPut>(as_is(h.c), h.turned_b, h.scores, size, size, states);
}

// A head's fade and weights.
FATHOM_INLINE void fill_weights(const ChunkTerms& terms, const Heads& h, int64_t size) {
  fill_fade(terms.alpha, size, h.fade);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t s = 0; s < size; s += kLanes) {
      store(h.weights.row(t) + s,
            load(h.scores.row(t) + s) * load(h.fade.row(t) + s) * load(terms.delta + s));
    }
  }
}

FATHOM_INLINE void fwd_head(const SsdScanFwd& args, const Heads& h, int64_t head, int64_t from,
                            int64_t rows) {
  const SsdShape& shape = args.shape;
  const int64_t size = padded(rows), states = padded(shape.state), channels = padded(shape.head_dim);
  const Matrix state = h.of[head - h.begin];
  ChunkTerms terms;
  load_terms(args.rates, shape, head, from, rows, terms);
  fill_weights(terms, h, size);
  copy_in(args.x + from * shape.x_stride + head * shape.head_dim, shape.x_stride, rows, shape.head_dim, h.x);
  transpose_to(state, h.turned, channels, states);
  multiply<Into::kPut>(as_is(h.c), h.turned, h.y, size, channels, states);
  const float skip = args.d[head];
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t j = 0; j < channels; j += kLanes) {
      float* y = h.y.row(t) + j;
      store(y, fma(load(y), broadcast(terms.alpha.since[t]), load(h.x.row(t) + j) * skip));
    }
  }
  multiply<Into::kAdd, Part::kLower>(as_is(h.weights), h.x, h.y, size, channels, size);
  copy_out<Into::kPut>(h.y, rows, shape.head_dim, args.y + from * inner_of(shape) + head * shape.head_dim,
                       inner_of(shape));
  scale_rows(h.x, size, channels, terms.kept);
  scale(state, channels, states, terms.alpha.since[rows - 1]);
  multiply<Into::kAdd>(transposed(h.x), h.b, state, channels, states, size);
}

// What a head sums over a sequence.
struct HeadSums {
  double rate = 0, skip = 0;  // rate: dL/da
};

// A head's shares of grad_scores, grad_b and grad_c, and its own gradients; the gradient of its state becomes
// that before the rows.
FATHOM_INLINE void bwd_head(const SsdScanBwd& args, const Heads& h, int64_t head, int64_t from, int64_t rows,
                            const float* checkpoint, HeadSums& sums) {
  const SsdShape& shape = args.shape;
  const int64_t size = padded(rows), states = padded(shape.state), channels = padded(shape.head_dim);
  const Matrix grad = h.of[head - h.begin];
  ChunkTerms terms;
  load_terms(args.rates, shape, head, from, rows, terms);
  fill_weights(terms, h, size);
  copy_in(args.x + from * shape.x_stride + head * shape.head_dim, shape.x_stride, rows, shape.head_dim, h.x);
  copy_in(args.grad_y + from * inner_of(shape) + head * shape.head_dim, inner_of(shape), rows, shape.head_dim,
          h.y);
  copy_in(checkpoint + head * shape.head_dim * shape.state, shape.state, shape.head_dim, shape.state,
          h.state);
  float from_start[kSsdChunk] = {}, to_end[kSsdChunk] = {}, grad_alpha[kSsdChunk], grad_delta[kSsdChunk];

  // x: by way of the state behind the chunk, of the rows that read it, of its own row.
  transpose_to(grad, h.turned, channels, states);
  multiply<Into::kPut>(as_is(h.b), h.turned, h.input, size, channels, states);
  const float skip = args.d[head];
  for (int64_t t = 0; t < rows; ++t) {
    to_end[t] = sum(products_of(h.x.row(t), h.input.row(t), channels)) * terms.alpha.until[t];
    sums.skip += sum(products_of(h.x.row(t), h.y.row(t), channels));
  }
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t j = 0; j < channels; j += kLanes) {
      float* at = h.input.row(t) + j;
      store(at, fma(load(at), broadcast(terms.kept[t]), load(h.y.row(t) + j) * skip));
    }
  }
  multiply<Into::kAdd, Part::kUpper>(transposed(h.weights), h.y, h.input, size, channels, size);
  copy_out<Into::kPut>(h.input, rows, shape.head_dim,
                       args.grad_x + from * args.grad_x_stride + head * shape.head_dim, args.grad_x_stride);

  // Scores and decays between rows.
  transpose_to(h.x, h.turned_x, size, channels);
  multiply<Into::kPut>(as_is(h.y), h.turned_x, h.grad_weights, size, size, channels);
  for (int64_t t = 0; t < size; ++t) {
    for (int64_t s = 0; s < size; s += kLanes) {
      float *grad_fade = h.grad_weights.row(t) + s, *total = h.grad_scores.row(t) + s;
      const Vec faded = load(grad_fade) * load(h.fade.row(t) + s);
      store(total, fma(faded, load(terms.delta + s), load(total)));
      store(grad_fade, faded * load(h.scores.row(t) + s));
    }
  }

  // b, c and decays by way of the states; then the gradient of the state before the chunk.
  multiply<Into::kPut>(as_is(h.y), h.state, h.through, size, states, channels);
  for (int64_t t = 0; t < size; ++t) {
    const float f = terms.alpha.since[t];
    Vec along = {};
    for (int64_t j = 0; j < states; j += kLanes) {
      const Vec share = load(h.through.row(t) + j) * f;
      float* total = h.grad_c.row(t) + j;
      store(total, load(total) + share);
      along = fma(share, load(h.c.row(t) + j), along);
    }
    from_start[t] = sum(along);
  }
  Vec whole = {};
  for (int64_t i = 0; i < channels; ++i) whole = whole + products_of(grad.row(i), h.state.row(i), states);
  from_start[rows - 1] += sum(whole) * terms.alpha.since[rows - 1];
  scale_rows(h.x, size, channels, terms.kept);
  multiply<Into::kAdd>(as_is(h.x), grad, h.grad_b, size, states, channels);
  scale_rows(h.y, size, channels, terms.alpha.since);
  scale(grad, channels, states, terms.alpha.since[rows - 1]);
  multiply<Into::kAdd>(transposed(h.y), h.c, grad, channels, states, size);

  const auto pair = [&](int64_t t, int64_t s) __attribute__((always_inline)) {
    return load(h.grad_weights.row(t) + s);
  };
  bwd_spans<kSsdChunk>(rows, terms.delta, pair, from_start, to_end, grad_alpha, grad_delta);
  for (int64_t t = 0; t < rows; ++t) {
    args.grad_dt[(from + t) * shape.heads + head] = grad_delta[t] + grad_alpha[t] * args.a[head];
    sums.rate += (double)grad_alpha[t] * terms.delta[t];
  }
}

}  // namespace

void ssd_scan_fwd_chunks(const SsdScanFwd& args, const SsdPlace& place, float* memory) {
  const SsdShape& shape = args.shape;
  const Heads h = heads_of(shape, place, memory);
  const SsdSequence sequence = args.sequences[place.sequence];
  const int64_t of_head = shape.head_dim * shape.state;
  for (int64_t head = h.begin; head < h.end; ++head) {
    const Matrix state = h.of[head - h.begin];
    if (sequence.state != nullptr) {
      copy_in(sequence.state + head * of_head, shape.state, shape.head_dim, shape.state, state);
    } else {
      clear(state, padded(shape.head_dim), padded(shape.state));
    }
  }
  int64_t chunk = place.chunk;
  for (int64_t from = sequence.rows.begin; from < sequence.rows.end; from += kSsdChunk, ++chunk) {
    const int64_t rows = smaller(kSsdChunk, sequence.rows.end - from);
    load_group(args.b, args.c, shape, h, from, rows);
    for (int64_t head = h.begin; head < h.end; ++head) {
      if (args.checkpoints != nullptr) {
        copy_out<Into::kPut>(h.of[head - h.begin], shape.head_dim, shape.state,
                             args.checkpoints + (chunk * shape.heads + head) * of_head, shape.state);
      }
      fwd_head(args, h, head, from, rows);
    }
  }
  if (sequence.state == nullptr) return;
  for (int64_t head = h.begin; head < h.end; ++head) {
    copy_out<Into::kPut>(h.of[head - h.begin], shape.head_dim, shape.state, sequence.state + head * of_head,
                         shape.state);
  }
}

void ssd_scan_bwd_chunks(const SsdScanBwd& args, const SsdPlace& place, const SsdPartials& partials,
                         float* memory) {
  const SsdShape& shape = args.shape;
  const Heads h = heads_of(shape, place, memory);
  const RowRange sequence = args.sequences[place.sequence];
  const int64_t states = padded(shape.state), width = shape.groups * shape.state;
  HeadSums sums[kSsdHeads];
  for (int64_t head = h.begin; head < h.end; ++head)
    clear(h.of[head - h.begin], padded(shape.head_dim), states);
  for (int64_t n = (sequence.end - sequence.begin + kSsdChunk - 1) / kSsdChunk - 1; n >= 0; --n) {
    const int64_t from = sequence.begin + n * kSsdChunk, rows = smaller(kSsdChunk, sequence.end - from);
    const int64_t size = padded(rows);
    load_group(args.b, args.c, shape, h, from, rows);
    clear(h.grad_scores, size, size);
    clear(h.grad_b, size, states);
    clear(h.grad_c, size, states);
    for (int64_t head = h.begin; head < h.end; ++head) {
      bwd_head(args, h, head, from, rows,
               args.checkpoints + (place.chunk + n) * inner_of(shape) * shape.state, sums[head - h.begin]);
    }
    multiply<Into::kAdd, Part::kLower>(as_is(h.grad_scores), h.b, h.grad_c, size, states, size);
    multiply<Into::kAdd, Part::kUpper>(transposed(h.grad_scores), h.c, h.grad_b, size, states, size);
    copy_out<Into::kPut>(h.grad_b, rows, shape.state, partials.b + from * width + h.group, width);
    copy_out<Into::kPut>(h.grad_c, rows, shape.state, partials.c + from * width + h.group, width);
  }
  for (int64_t head = h.begin; head < h.end; ++head) {
    partials.rate[place.sequence * shape.heads + head] = (float)sums[head - h.begin].rate;
    partials.skip[place.sequence * shape.heads + head] = (float)sums[head - h.begin].skip;
  }
}

void ssd_scan_bwd_terms(const SsdScanBwd& args, int64_t head, const SsdPartials& partials) {
  const int64_t heads = args.shape.heads;
  double bias = 0, rate = 0, skip = 0;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    rate += partials.rate[s * heads + head];
    skip += partials.skip[s * heads + head];
    for (int64_t row = args.sequences[s].begin; row < args.sequences[s].end; ++row) {
      const float pre = args.dt[row * heads + head] + args.dt_bias[head];
      float& grad = args.grad_dt[row * heads + head];
      if (!(pre > 20.0F)) grad *= sigmoid(broadcast(pre))[0];
      bias += grad;
    }
  }
  args.grad_dt_bias[head] = (float)bias;
  args.grad_a_log[head] = (float)(rate * args.a[head]);
  args.grad_d[head] = (float)skip;
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
