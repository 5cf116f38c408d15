#include "kernels/selective_scan/selective_scan_levels.h"
#include "kernels/simd/columns.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Lanes are channels. Work is cut into blocks of channels, so that rows are met a few cache lines at a time,
// and within a block into chunks of rows, vectors of channels, rows. States are taken in groups that fit the
// first-level cache; a larger state takes several walks over time, each adding its share of y.
constexpr int64_t kStates = 16;
constexpr int64_t kVecs = kScanWidth / kLanes;
constexpr int64_t kTogether = 4;  // states whose decays are computed together; divides kStates
constexpr float kLog2E = 1.44269504088896341F;

// One vector of channels and one group of states.
struct Place {
  int64_t channel, lanes;  // channels [channel, channel + lanes)
  int64_t first, count;    // states [first, first + count)
};

// Values of a block, one for each state and channel.
struct Block {
  Vec at[kVecs][kStates];
};

FATHOM_INLINE Place place_of(int64_t begin, int64_t end, int64_t v, int64_t first, int64_t state) {
  const int64_t channel = begin + v * kLanes;
  return {channel, lanes_left(end - channel), first, state - first < kStates ? state - first : kStates};
}
FATHOM_INLINE int64_t vectors(int64_t begin, int64_t end) { return (end - begin + kLanes - 1) / kLanes; }
FATHOM_INLINE int64_t chunk_end(int64_t from, RowRange rows) {
  return from + kScanChunk < rows.end ? from + kScanChunk : rows.end;
}

FATHOM_INLINE void load_states(const float* base, int64_t state, const Place& p, Vec* out) {
  load_columns(base + p.channel * state + p.first, state, p.lanes, p.count, out);
}
FATHOM_INLINE void store_states(float* base, int64_t state, const Place& p, const Vec* values) {
  store_columns(base + p.channel * state + p.first, state, p.lanes, p.count, values);
}

// Rows of one array are far apart, so the hardware does not foresee them: every row asks for the cells that
// the same row of the next vector, or of the next chunk after the last vector, will want. Nothing happens
// where there is no such address.
FATHOM_INLINE int64_t cells_ahead(int64_t v, int64_t count, int64_t next_chunk) {
  return v + 1 < count ? kLanes : next_chunk - v * kLanes;
}
FATHOM_INLINE void ask_for(const float* cell) { __builtin_prefetch(cell); }

// kCount states by one row: h and the row's sum of outputs.
template <int kCount>
FATHOM_INLINE void advance(const Vec* rate, Vec delta, Vec drive, const float* b, Vec* h, const float* out,
                           Vec* total) {
  Vec decay[kCount];
  for (int i = 0; i < kCount; ++i) decay[i] = delta * rate[i];
  exp2_nonpositive_each<kCount>(decay);
  for (int i = 0; i < kCount; ++i) {
    h[i] = fma(decay[i], h[i], drive * b[i]);
    *total = fma(h[i], broadcast(out[i]), *total);
  }
}

// Rows [from, to): h is carried on, y gets the group's share. `rate` is a / ln 2.
FATHOM_INLINE void fwd_chunk(const SelectiveScanFwd& args, const Place& p, int64_t from, int64_t to,
                             int64_t ahead, const Vec* rate, Vec* h) {
  const Vec bias = load_n(args.dt_bias + p.channel, p.lanes), skip = load_n(args.d + p.channel, p.lanes);
  for (int64_t row = from; row < to; ++row) {
    const int64_t cell = row * args.inner + p.channel;
    ask_for(args.x + cell + ahead);
    ask_for(args.dt + cell + ahead);
    ask_for(args.y + cell + ahead);
    const Vec x = load_n(args.x + cell, p.lanes);
    const Vec delta = softplus(load_n(args.dt + cell, p.lanes) + bias);
    const Vec drive = delta * x;
    const float* b = args.b + row * args.bc_stride + p.first;
    const float* out = args.c + row * args.bc_stride + p.first;
    Vec total = p.first == 0 ? skip * x : load_n(args.y + cell, p.lanes);
    int64_t n = 0;
    for (; n + kTogether <= p.count; n += kTogether)
      advance<kTogether>(rate + n, delta, drive, b + n, h + n, out + n, &total);
    for (; n < p.count; ++n) advance<1>(rate + n, delta, drive, b + n, h + n, out + n, &total);
    store_n(args.y + cell, total, p.lanes);
  }
}

FATHOM_INLINE void fwd_block(const SelectiveScanFwd& args, int64_t begin, int64_t end, int64_t first) {
  const int64_t count = vectors(begin, end);
  Block rate, h;
  for (int64_t v = 0; v < count; ++v) {
    const Place p = place_of(begin, end, v, first, args.state);
    load_states(args.a, args.state, p, rate.at[v]);
    for (int64_t n = 0; n < p.count; ++n) rate.at[v][n] = rate.at[v][n] * kLog2E;
  }
  float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const ScanSequence sequence = args.sequences[s];
    for (int64_t v = 0; v < count; ++v) {
      const Place p = place_of(begin, end, v, first, args.state);
      if (sequence.state != nullptr) {
        load_states(sequence.state, args.state, p, h.at[v]);
      } else {
        for (int64_t n = 0; n < kStates; ++n) h.at[v][n] = Vec{};
      }
    }
    for (int64_t from = sequence.rows.begin; from < sequence.rows.end; from += kScanChunk) {
      for (int64_t v = 0; v < count; ++v) {
        const Place p = place_of(begin, end, v, first, args.state);
        if (checkpoint != nullptr) store_states(checkpoint, args.state, p, h.at[v]);
        fwd_chunk(args, p, from, chunk_end(from, sequence.rows),
                  cells_ahead(v, count, kScanChunk * args.inner), rate.at[v], h.at[v]);
      }
      if (checkpoint != nullptr) checkpoint += args.inner * args.state;
    }
    if (sequence.state == nullptr) continue;
    for (int64_t v = 0; v < count; ++v) {
      store_states(sequence.state, args.state, place_of(begin, end, v, first, args.state), h.at[v]);
    }
  }
}

// What a vector of channels carries from chunk to chunk, backward in time.
struct Carried {
  Block rate, grad_h, grad_rate;  // grad_rate is dL/da
  Vec grad_bias[kVecs], grad_skip[kVecs];
};

// The rows of one chunk, recomputed: h[t] is the state before row t.
struct Replay {
  Vec h[kScanChunk + 1][kStates], decay[kScanChunk][kStates], delta[kScanChunk];
};

// The same for states from `first` on, keeping decays and states.
template <int kCount>
FATHOM_INLINE void replay(const Vec* rate, Vec drive, const float* b, int64_t t, int64_t first,
                          Replay& past) {
  Vec decay[kCount];
  for (int i = 0; i < kCount; ++i) decay[i] = past.delta[t] * rate[i];
  exp2_nonpositive_each<kCount>(decay);
  for (int i = 0; i < kCount; ++i) {
    past.decay[t][first + i] = decay[i];
    past.h[t + 1][first + i] = fma(decay[i], past.h[t][first + i], drive * b[i]);
  }
}

FATHOM_INLINE void replay_chunk(const SelectiveScanBwd& args, const Place& p, int64_t from, int64_t to,
                                int64_t ahead, const Vec* rate, Vec bias, Replay& past) {
  for (int64_t row = from; row < to; ++row) {
    const int64_t t = row - from, cell = row * args.inner + p.channel;
    ask_for(args.x + cell + ahead);
    ask_for(args.dt + cell + ahead);
    ask_for(args.grad_y + cell + ahead);
    past.delta[t] = softplus(load_n(args.dt + cell, p.lanes) + bias);
    const Vec drive = past.delta[t] * load_n(args.x + cell, p.lanes);
    const float* b = args.b + row * args.bc_stride + p.first;
    int64_t n = 0;
    for (; n + kTogether <= p.count; n += kTogether) replay<kTogether>(rate + n, drive, b + n, t, n, past);
    for (; n < p.count; ++n) replay<1>(rate + n, drive, b + n, t, n, past);
  }
}

FATHOM_INLINE void add_to(float* out, Vec value, int64_t n) { store_n(out, load_n(out, n) + value, n); }

// One row: gradients of the group, and its shares of grad_x and of dL/ddelta (returned).
FATHOM_INLINE Vec bwd_states(const SelectiveScanBwd& args, const Place& p, int64_t row, int64_t t, Vec grad,
                             Vec drive, const Replay& past, const Vec* rate, Vec* grad_h, Vec* grad_rate,
                             float* partial_b, float* partial_c, Vec* through_b) {
  const float* b = args.b + row * args.bc_stride + p.first;
  const float* out = args.c + row * args.bc_stride + p.first;
  Vec through_rate = {};
  for (int64_t k = 0; k < p.count; k += kLanes) {
    const int64_t n = lanes_left(p.count - k);
    Vec share_b[kLanes], share_c[kLanes];
    for (int64_t i = n; i < kLanes; ++i) share_b[i] = share_c[i] = Vec{};
    for (int64_t i = 0; i < n; ++i) {
      const int64_t m = k + i;
      const Vec g = fma(grad, broadcast(out[m]), grad_h[m]);
      share_c[i] = grad * past.h[t + 1][m];
      share_b[i] = g * drive;
      *through_b = fma(g, broadcast(b[m]), *through_b);
      grad_h[m] = g * past.decay[t][m];
      const Vec q = grad_h[m] * past.h[t][m];
      through_rate = fma(q, rate[m], through_rate);
      grad_rate[m] = fma(q, past.delta[t], grad_rate[m]);
    }
    add_to(partial_b + row * args.state + p.first + k, sum_each(share_b), n);
    add_to(partial_c + row * args.state + p.first + k, sum_each(share_c), n);
  }
  return through_rate * (1.0F / kLog2E);
}

FATHOM_INLINE void bwd_chunk(const SelectiveScanBwd& args, const Place& p, int64_t from, int64_t to,
                             int64_t ahead, int64_t v, const float* checkpoint, Carried& carried,
                             Replay& past, float* partial_b, float* partial_c) {
  const Vec bias = load_n(args.dt_bias + p.channel, p.lanes), skip = load_n(args.d + p.channel, p.lanes);
  const Vec* rate = carried.rate.at[v];
  load_states(checkpoint, args.state, p, past.h[0]);
  replay_chunk(args, p, from, to, ahead, rate, bias, past);
  for (int64_t row = to - 1; row >= from; --row) {
    const int64_t t = row - from, cell = row * args.inner + p.channel;
    ask_for(args.grad_x + cell + ahead);
    ask_for(args.grad_dt + cell + ahead);
    const Vec x = load_n(args.x + cell, p.lanes), grad = load_n(args.grad_y + cell, p.lanes);
    Vec through_b = {};
    const Vec through_rate =
        bwd_states(args, p, row, t, grad, past.delta[t] * x, past, rate, carried.grad_h.at[v],
                   carried.grad_rate.at[v], partial_b, partial_c, &through_b);
    const Vec before_x = p.first == 0 ? grad * skip : load_n(args.grad_x + cell, p.lanes);
    const Vec before_dt = p.first == 0 ? Vec{} : load_n(args.grad_dt + cell, p.lanes);
    store_n(args.grad_x + cell, fma(past.delta[t], through_b, before_x), p.lanes);
    Vec grad_dt = before_dt + fma(through_b, x, through_rate);
    if (p.first + p.count == args.state) {  // complete: dL/ddelta becomes dL/ddt
      const Vec pre = load_n(args.dt + cell, p.lanes) + bias;
      grad_dt = grad_dt * select((IVec)(pre > 20.0F), broadcast(1.0F), sigmoid(pre));
      carried.grad_bias[v] = carried.grad_bias[v] + grad_dt;
      carried.grad_skip[v] = fma(grad, x, carried.grad_skip[v]);
    }
    store_n(args.grad_dt + cell, grad_dt, p.lanes);
  }
}

FATHOM_INLINE void bwd_block(const SelectiveScanBwd& args, int64_t begin, int64_t end, int64_t first,
                             int64_t partial_size, float* partial_b, float* partial_c) {
  const int64_t count = vectors(begin, end);
  Carried carried;
  Replay past;
  for (int64_t v = 0; v < count; ++v) {
    const Place p = place_of(begin, end, v, first, args.state);
    load_states(args.a, args.state, p, carried.rate.at[v]);
    for (int64_t n = 0; n < kStates; ++n) carried.grad_rate.at[v][n] = Vec{};
    for (int64_t n = 0; n < p.count; ++n) carried.rate.at[v][n] = carried.rate.at[v][n] * kLog2E;
    carried.grad_bias[v] = carried.grad_skip[v] = Vec{};
  }
  const float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange rows = args.sequences[s];
    const int64_t chunks = (rows.end - rows.begin + kScanChunk - 1) / kScanChunk;
    for (int64_t v = 0; v < count; ++v) {
      for (int64_t n = 0; n < kStates; ++n) carried.grad_h.at[v][n] = Vec{};
    }
    for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
      const int64_t from = rows.begin + chunk * kScanChunk;
      for (int64_t v = 0; v < count; ++v) {
        const int64_t share = v * kLanes / kScanChannels * partial_size;
        bwd_chunk(args, place_of(begin, end, v, first, args.state), from, chunk_end(from, rows),
                  cells_ahead(v, count, -kScanChunk * args.inner), v,
                  checkpoint + chunk * args.inner * args.state, carried, past, partial_b + share,
                  partial_c + share);
      }
    }
    checkpoint += chunks * args.inner * args.state;
  }
  for (int64_t v = 0; v < count; ++v) {
    const Place p = place_of(begin, end, v, first, args.state);
    Vec* grad = carried.grad_rate.at[v];
    for (int64_t n = 0; n < p.count; ++n) grad[n] = grad[n] * carried.rate.at[v][n] * (1.0F / kLog2E);
    store_states(args.grad_a_log, args.state, p, grad);
    if (p.first + p.count < args.state) continue;
    store_n(args.grad_dt_bias + p.channel, carried.grad_bias[v], p.lanes);
    store_n(args.grad_d + p.channel, carried.grad_skip[v], p.lanes);
  }
}

}  // namespace

void selective_scan_fwd_channels(const SelectiveScanFwd& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kScanWidth) {
    const int64_t last = c + kScanWidth < end ? c + kScanWidth : end;
    for (int64_t first = 0; first < args.state; first += kStates) fwd_block(args, c, last, first);
  }
}

void selective_scan_bwd_channels(const SelectiveScanBwd& args, int64_t begin, int64_t end,
                                 int64_t partial_size, float* partial_b, float* partial_c) {
  for (int64_t first = 0; first < args.state; first += kStates) {
    bwd_block(args, begin, end, first, partial_size, partial_b, partial_c);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
