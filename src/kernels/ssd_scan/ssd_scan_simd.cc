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

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
