#include "kernels/simd/vec.h"
#include "kernels/ssd_scan/ssd_scan_levels.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Lanes are states: b and c are read as they lie, and only the read-out sums across lanes. Channels are taken
// a few at a time, so that their states stay in the first-level cache over all rows; states beyond kStates
// take more walks over time, each adding its share.
constexpr int64_t kStates = 128;
constexpr int64_t kVecs = kStates / kLanes;
constexpr int64_t kTile = 4;  // channels of a tile going back
constexpr float kLog2E = 1.44269504088896341F;

// A few channels of one head, and one group of states.
struct Place {
  int64_t head, group;        // group: where its b and c stand in a row
  int64_t channel, channels;  // [channel, channel + channels)
  int64_t first, count;       // states [first, first + count)
  __attribute__((always_inline)) int64_t vecs() const { return (count + kLanes - 1) / kLanes; }
};

// Not the shape's own function: a level's object must not share it.
FATHOM_INLINE int64_t inner_of(const SsdShape& shape) { return shape.heads * shape.head_dim; }

FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

FATHOM_INLINE Place place_of(const SsdShape& shape, int64_t channel, int64_t end, int64_t most,
                             int64_t first) {
  const int64_t head = channel / shape.head_dim;
  const int64_t last = smaller(smaller(end, (head + 1) * shape.head_dim), channel + most);
  return {head,    head / (shape.heads / shape.groups) * shape.state,
          channel, last - channel,
          first,   smaller(kStates, shape.state - first)};
}

// Vector k of the place's states; lanes behind them are zero.
FATHOM_INLINE Vec load_at(const float* states, const Place& p, int64_t k) {
  return load_n(states + k * kLanes, lanes_left(p.count - k * kLanes));
}
FATHOM_INLINE void store_at(float* states, const Place& p, int64_t k, Vec v) {
  store_n(states + k * kLanes, v, lanes_left(p.count - k * kLanes));
}

FATHOM_INLINE void load_states(const float* base, const SsdShape& shape, const Place& p, Vec (*h)[kVecs]) {
  for (int64_t i = 0; i < p.channels; ++i) {
    const float* states = base + (p.channel + i) * shape.state + p.first;
    for (int64_t k = 0; k < p.vecs(); ++k) h[i][k] = load_at(states, p, k);
  }
}
FATHOM_INLINE void store_states(float* base, const SsdShape& shape, const Place& p, const Vec (*h)[kVecs]) {
  for (int64_t i = 0; i < p.channels; ++i) {
    float* states = base + (p.channel + i) * shape.state + p.first;
    for (int64_t k = 0; k < p.vecs(); ++k) store_at(states, p, k, h[i][k]);
  }
}

FATHOM_INLINE float delta_at(const float* rates, const SsdShape& shape, int64_t row, int64_t head) {
  return rates[row * 2 * shape.heads + head];
}
FATHOM_INLINE float decay_at(const float* rates, const SsdShape& shape, int64_t row, int64_t head) {
  return rates[(row * 2 + 1) * shape.heads + head];
}

// One row: h is carried on, y gets the group's share. kFull: all kStates states.
template <bool kFull>
FATHOM_INLINE void fwd_row(const SsdScanFwd& args, const Place& p, int64_t row, Vec (*h)[kVecs]) {
  const SsdShape& shape = args.shape;
  const int64_t vecs = kFull ? kVecs : p.vecs(), at = row * shape.x_stride + p.group + p.first;
  const Vec x = load_n(args.x + row * shape.x_stride + p.channel, p.channels);
  const Vec decay = broadcast(decay_at(args.rates, shape, row, p.head));
  const Vec drives = x * delta_at(args.rates, shape, row, p.head);
  Vec b[kVecs], c[kVecs], totals[kLanes];
  for (int64_t k = 0; k < vecs; ++k) {
    b[k] = load_at(args.b + at, p, k);
    c[k] = load_at(args.c + at, p, k);
  }
  for (int64_t i = p.channels; i < kLanes; ++i) totals[i] = Vec{};
  for (int64_t i = 0; i < p.channels; ++i) {
    const Vec drive = broadcast(drives[i]);
    Vec total = {};
    for (int64_t k = 0; k < vecs; ++k) {
      h[i][k] = fma(decay, h[i][k], drive * b[k]);
      total = fma(h[i][k], c[k], total);
    }
    totals[i] = total;
  }
  float* y = args.y + row * inner_of(shape) + p.channel;
  const Vec before = p.first == 0 ? x * args.d[p.head] : load_n(y, p.channels);
  store_n(y, before + sum_each(totals), p.channels);
}

FATHOM_INLINE void fwd_place(const SsdScanFwd& args, const Place& p) {
  Vec h[kLanes][kVecs];
  float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const SsdSequence sequence = args.sequences[s];
    if (sequence.state != nullptr) {
      load_states(sequence.state, args.shape, p, h);
    } else {
      for (int64_t i = 0; i < p.channels; ++i) {
        for (int64_t k = 0; k < p.vecs(); ++k) h[i][k] = Vec{};
      }
    }
    for (int64_t row = sequence.rows.begin; row < sequence.rows.end; ++row) {
      if (checkpoint != nullptr && (row - sequence.rows.begin) % kSsdChunk == 0) {
        store_states(checkpoint, args.shape, p, h);
        checkpoint += inner_of(args.shape) * args.shape.state;
      }
      p.count == kStates ? fwd_row<true>(args, p, row, h) : fwd_row<false>(args, p, row, h);
    }
    if (sequence.state != nullptr) store_states(sequence.state, args.shape, p, h);
  }
}

// What a head sums over its channels and rows.
struct HeadSums {
  double rate = 0, skip = 0;  // rate: dL/da
};

// A tile's rows of one chunk, recomputed: h[t] is the state before row t.
struct Replay {
  Vec h[kSsdChunk + 1][kTile][kVecs];
};

FATHOM_INLINE void replay_chunk(const SsdScanBwd& args, const Place& p, int64_t from, int64_t to,
                                const float* checkpoint, Replay& past) {
  const SsdShape& shape = args.shape;
  load_states(checkpoint, shape, p, past.h[0]);
  for (int64_t row = from; row < to; ++row) {
    const float* b = args.b + row * shape.x_stride + p.group + p.first;
    const float* x = args.x + row * shape.x_stride + p.channel;
    const Vec decay = broadcast(decay_at(args.rates, shape, row, p.head));
    const float delta = delta_at(args.rates, shape, row, p.head);
    for (int64_t k = 0; k < p.vecs(); ++k) {
      const Vec input = load_at(b, p, k);
      for (int64_t i = 0; i < p.channels; ++i)
        past.h[row - from + 1][i][k] = fma(decay, past.h[row - from][i][k], broadcast(x[i] * delta) * input);
    }
  }
}

// One row going back; kChannels is p.channels.
template <int kChannels>
FATHOM_INLINE void bwd_row(const SsdScanBwd& args, const Place& p, int64_t row, bool fresh,
                           const Vec (*before)[kVecs], const Vec (*after)[kVecs], Vec (*grad_h)[kVecs],
                           float* partial_b, float* partial_c, HeadSums& sums) {
  const SsdShape& shape = args.shape;
  const int64_t at = row * shape.x_stride + p.group + p.first;
  const float* x = args.x + row * shape.x_stride + p.channel;
  const float* grad_y = args.grad_y + row * inner_of(shape) + p.channel;
  const float delta = delta_at(args.rates, shape, row, p.head);
  const float decay = decay_at(args.rates, shape, row, p.head);
  float* share_b = partial_b + row * shape.groups * shape.state + p.group + p.first;
  float* share_c = partial_c + row * shape.groups * shape.state + p.group + p.first;
  Vec through_b[kChannels], through_decay[kChannels];
  for (int i = 0; i < kChannels; ++i) through_b[i] = through_decay[i] = Vec{};
  for (int64_t k = 0; k < p.vecs(); ++k) {
    const Vec b = load_at(args.b + at, p, k), c = load_at(args.c + at, p, k);
    Vec sum_b = load_at(share_b, p, k), sum_c = load_at(share_c, p, k);
    for (int i = 0; i < kChannels; ++i) {
      const Vec grad = broadcast(grad_y[i]), g = fma(grad, c, grad_h[i][k]);
      sum_c = fma(grad, after[i][k], sum_c);
      sum_b = fma(g, broadcast(x[i] * delta), sum_b);
      through_b[i] = fma(g, b, through_b[i]);
      through_decay[i] = fma(g, before[i][k], through_decay[i]);
      grad_h[i][k] = g * decay;
    }
    store_at(share_b, p, k, sum_b);
    store_at(share_c, p, k, sum_c);
  }
  float* grad_x = args.grad_x + row * args.grad_x_stride + p.channel;
  float grad_delta = 0.0F;
  Vec all_decay = {};
  for (int i = 0; i < kChannels; ++i) {
    const float through = sum(through_b[i]);
    grad_x[i] = (p.first == 0 ? grad_y[i] * args.d[p.head] : grad_x[i]) + delta * through;
    grad_delta += through * x[i];
    all_decay = all_decay + through_decay[i];
    if (p.first == 0) sums.skip += (double)grad_y[i] * x[i];
  }
  const float grad_rate = sum(all_decay) * decay;
  sums.rate += (double)grad_rate * delta;
  float& grad_dt = args.grad_dt[row * shape.heads + p.head];
  grad_dt = (fresh ? 0.0F : grad_dt) + grad_delta + grad_rate * args.a[p.head];
}

template <int kChannels>
FATHOM_INLINE void bwd_place(const SsdScanBwd& args, const Place& p, bool fresh, float* partial_b,
                             float* partial_c, Replay& past, HeadSums& sums) {
  const SsdShape& shape = args.shape;
  const float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange rows = args.sequences[s];
    const int64_t chunks = (rows.end - rows.begin + kSsdChunk - 1) / kSsdChunk;
    Vec grad_h[kTile][kVecs];
    for (int64_t i = 0; i < p.channels; ++i) {
      for (int64_t k = 0; k < p.vecs(); ++k) grad_h[i][k] = Vec{};
    }
    for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
      const int64_t from = rows.begin + chunk * kSsdChunk, to = smaller(from + kSsdChunk, rows.end);
      replay_chunk(args, p, from, to, checkpoint + chunk * inner_of(shape) * shape.state, past);
      for (int64_t row = to - 1; row >= from; --row) {
        bwd_row<kChannels>(args, p, row, fresh, past.h[row - from], past.h[row - from + 1], grad_h, partial_b,
                           partial_c, sums);
      }
    }
    checkpoint += chunks * inner_of(shape) * shape.state;
  }
}

// dL/ddelta of the head's rows becomes dL/ddt.
FATHOM_INLINE void finish_head(const SsdScanBwd& args, int64_t head, const HeadSums& sums) {
  const int64_t heads = args.shape.heads;
  double bias = 0;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    for (int64_t row = args.sequences[s].begin; row < args.sequences[s].end; ++row) {
      const float pre = args.dt[row * heads + head] + args.dt_bias[head];
      float& grad = args.grad_dt[row * heads + head];
      if (!(pre > 20.0F)) grad *= sigmoid(broadcast(pre))[0];
      bias += grad;
    }
  }
  args.grad_dt_bias[head] = (float)bias;
  args.grad_a_log[head] = (float)(sums.rate * args.a[head]);
  args.grad_d[head] = (float)sums.skip;
}

}  // namespace

void ssd_scan_rates_rows(const SsdScanFwd& args, int64_t begin, int64_t end) {
  const int64_t heads = args.shape.heads;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t i = 0; i < heads; i += kLanes) {
      const int64_t n = lanes_left(heads - i);
      const Vec delta = softplus(load_n(args.dt + row * heads + i, n) + load_n(args.dt_bias + i, n));
      store_n(args.rates + row * 2 * heads + i, delta, n);
      store_n(args.rates + (row * 2 + 1) * heads + i,
              exp2_nonpositive(delta * (load_n(args.a + i, n) * kLog2E)), n);
    }
  }
}

void ssd_scan_fwd_channels(const SsdScanFwd& args, int64_t begin, int64_t end) {
  for (int64_t first = 0; first < args.shape.state; first += kStates) {
    for (int64_t c = begin; c < end;) {
      const Place p = place_of(args.shape, c, end, kLanes, first);
      fwd_place(args, p);
      c += p.channels;
    }
  }
}

void ssd_scan_bwd_heads(const SsdScanBwd& args, int64_t begin, int64_t end, float* partial_b,
                        float* partial_c) {
  Replay past;
  for (int64_t head = begin; head < end; ++head) {
    HeadSums sums;
    const int64_t channel = head * args.shape.head_dim, last = channel + args.shape.head_dim;
    for (int64_t first = 0; first < args.shape.state; first += kStates) {
      for (int64_t c = channel; c < last; c += kTile) {
        const Place p = place_of(args.shape, c, last, kTile, first);
        const bool fresh = first == 0 && c == channel;
        switch (p.channels) {
          case 1:
            bwd_place<1>(args, p, fresh, partial_b, partial_c, past, sums);
            break;
          case 2:
            bwd_place<2>(args, p, fresh, partial_b, partial_c, past, sums);
            break;
          case 3:
            bwd_place<3>(args, p, fresh, partial_b, partial_c, past, sums);
            break;
          default:
            bwd_place<kTile>(args, p, fresh, partial_b, partial_c, past, sums);
            break;
        }
      }
    }
    finish_head(args, head, sums);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
