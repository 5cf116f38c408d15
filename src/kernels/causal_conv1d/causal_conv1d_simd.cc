#include "kernels/causal_conv1d/causal_conv1d_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Channels are cut into blocks and time into tiles, so that rows are met many cache lines at a time and what
// a tap reads again is still in cache.
constexpr int64_t kBlock = 256;
constexpr int64_t kTile = 64;
constexpr int64_t kVecs = kBlock / kLanes;
constexpr int64_t kTaps = 8;    // taps kept as vectors; later ones are gathered where they are used
constexpr int kUsualWidth = 4;  // Mamba's: a form of its own, without loops over taps

// The taps of one vector of channels [c, c + n).
struct Taps {
  Vec first[kTaps];
  const float* weight;  // of channel c
  int64_t width, n;

  __attribute__((always_inline)) Vec gather(int64_t k) const {
    Vec v = {};
    for (int64_t i = 0; i < n; ++i) v[i] = weight[i * width + k];
    return v;
  }
  __attribute__((always_inline)) void load(const float* weights, int64_t taps, int64_t c, int64_t lanes) {
    weight = weights + c * taps;
    width = taps;
    n = lanes;
    for (int64_t k = 0; k < width && k < kTaps; ++k) first[k] = gather(k);
  }
  __attribute__((always_inline)) Vec at(int64_t k) const { return k < kTaps ? first[k] : gather(k); }
};

// Input t of a sequence; t < 0 reaches into its state, or is zero.
FATHOM_INLINE Vec input(const float* x, const float* state, int64_t channels, int64_t past, int64_t t,
                        int64_t n) {
  if (t >= 0) return load_n(x + t * channels, n);
  return state != nullptr ? load_n(state + (past + t) * channels, n) : Vec{};
}

FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows are far apart, so the hardware does not foresee them: every row asks for the cell that the same row of
// the next vector, or of the next tile after the last vector, will want. Nothing happens where there is no
// such address.
FATHOM_INLINE int64_t cells_ahead(int64_t c, int64_t begin, int64_t end, int64_t channels) {
  return c + kLanes < end ? kLanes : kTile * channels - (c - begin);
}
FATHOM_INLINE void ask_for(const float* cell) { __builtin_prefetch(cell); }

// Taps are added from the oldest input to the newest, whether an input lies in the call or in the state.
// kWidth is the number of taps, or 0: any.
template <int kWidth>
FATHOM_INLINE Vec convolve(const Taps& taps, Vec bias, const float* x, const float* state, int64_t channels,
                           int64_t t) {
  const int64_t width = kWidth > 0 ? kWidth : taps.width, past = width - 1;
  Vec total = bias;
  if (t >= past) {
    const float* oldest = x + (t - past) * channels;
    for (int64_t k = 0; k < width; ++k) {
      total = fma(taps.at(k), load_n(oldest + k * channels, taps.n), total);
    }
    return total;
  }
  for (int64_t k = 0; k < width; ++k) {
    total = fma(taps.at(k), input(x, state, channels, past, t - past + k, taps.n), total);
  }
  return total;
}

template <int kWidth>
FATHOM_INLINE void fwd_block(const CausalConv1dFwd& args, int64_t begin, int64_t end) {
  const int64_t channels = args.channels, past = args.width - 1;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const ConvSequence sequence = args.sequences[s];
    const int64_t rows = sequence.rows.end - sequence.rows.begin;
    for (int64_t from = 0; from < rows; from += kTile) {
      for (int64_t c = begin; c < end; c += kLanes) {
        Taps taps;
        taps.load(args.weight, args.width, c, lanes_left(end - c));
        const Vec bias = args.bias != nullptr ? load_n(args.bias + c, taps.n) : Vec{};
        const float* x = args.x + sequence.rows.begin * channels + c;
        float* y = args.y + sequence.rows.begin * channels + c;
        const float* state = sequence.state != nullptr ? sequence.state + c : nullptr;
        const int64_t ahead = cells_ahead(c, begin, end, channels);
        for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
          ask_for(x + t * channels + ahead);
          ask_for(y + t * channels + ahead);
          const Vec total = convolve<kWidth>(taps, bias, x, state, channels, t);
          store_n(y + t * channels, total * sigmoid(total), taps.n);
        }
      }
    }
    if (sequence.state == nullptr) continue;
    // Oldest first: place k is overwritten before place k + 1 is read from, and only later places are read.
    for (int64_t k = 0; k < past; ++k) {
      for (int64_t c = begin; c < end; c += kLanes) {
        const int64_t n = lanes_left(end - c);
        store_n(sequence.state + k * channels + c,
                input(args.x + sequence.rows.begin * channels + c, sequence.state + c, channels, past,
                      rows - past + k, n),
                n);
      }
    }
  }
}

// What a block of channels sums over all rows; taps from kTaps on are summed in grad_weight itself.
struct Sums {
  Vec bias[kVecs], taps[kVecs][kTaps];
};

// grad_x of every row becomes the gradient before silu.
template <int kWidth>
FATHOM_INLINE void bwd_silu(const CausalConv1dBwd& args, RowRange range, int64_t begin, int64_t end,
                            Sums& sums) {
  const int64_t channels = args.channels, rows = range.end - range.begin;
  for (int64_t from = 0; from < rows; from += kTile) {
    for (int64_t c = begin; c < end; c += kLanes) {
      Taps taps;
      taps.load(args.weight, args.width, c, lanes_left(end - c));
      const Vec bias = args.bias != nullptr ? load_n(args.bias + c, taps.n) : Vec{};
      const int64_t start = range.begin * channels + c;
      const int64_t ahead = cells_ahead(c, begin, end, channels);
      Vec& sum = sums.bias[(c - begin) / kLanes];
      for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
        const int64_t cell = start + t * channels;
        ask_for(args.x + cell + ahead);
        ask_for(args.grad_y + cell + ahead);
        ask_for(args.grad_x + cell + ahead);
        const Vec total = convolve<kWidth>(taps, bias, args.x + start, nullptr, channels, t);
        const Vec sig = sigmoid(total);
        const Vec grad = load_n(args.grad_y + cell, taps.n) * (sig * fma(total, 1.0F - sig, broadcast(1.0F)));
        sum = sum + grad;
        store_n(args.grad_x + cell, grad, taps.n);
      }
    }
  }
}

// In place, forward in time: row t needs what bwd_silu left in rows t to t + width - 1, none of them
// overwritten.
template <int kWidth>
FATHOM_INLINE void bwd_taps(const CausalConv1dBwd& args, RowRange range, int64_t begin, int64_t end,
                            Sums& sums) {
  const int64_t channels = args.channels, rows = range.end - range.begin;
  const int64_t width = kWidth > 0 ? kWidth : args.width, past = width - 1;
  for (int64_t from = 0; from < rows; from += kTile) {
    for (int64_t c = begin; c < end; c += kLanes) {
      Taps taps;
      taps.load(args.weight, args.width, c, lanes_left(end - c));
      const float* x = args.x + range.begin * channels + c;
      float* grad_x = args.grad_x + range.begin * channels + c;
      const int64_t ahead = cells_ahead(c, begin, end, channels);
      Vec* sum = sums.taps[(c - begin) / kLanes];
      for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
        ask_for(x + t * channels + ahead);
        ask_for(grad_x + t * channels + ahead);
        const Vec grad = load_n(grad_x + t * channels, taps.n);
        for (int64_t k = 0; k < width; ++k) {
          if (t - past + k < 0) continue;  // before the first row: zeros
          const Vec value = load_n(x + (t - past + k) * channels, taps.n);
          if (k < kTaps) {
            sum[k] = fma(grad, value, sum[k]);
          } else {
            const Vec share = grad * value;
            for (int64_t i = 0; i < taps.n; ++i) args.grad_weight[(c + i) * width + k] += share[i];
          }
        }
        Vec total = {};
        for (int64_t j = 0; j < width; ++j) {
          if (t + j < rows)
            total = fma(taps.at(past - j), load_n(grad_x + (t + j) * channels, taps.n), total);
        }
        store_n(grad_x + t * channels, total, taps.n);
      }
    }
  }
}

template <int kWidth>
FATHOM_INLINE void bwd_block(const CausalConv1dBwd& args, int64_t begin, int64_t end) {
  Sums sums;
  for (int64_t v = 0; v < kVecs; ++v) {
    sums.bias[v] = Vec{};
    for (int64_t k = 0; k < kTaps; ++k) sums.taps[v][k] = Vec{};
  }
  for (int64_t i = begin * args.width; i < end * args.width; ++i) args.grad_weight[i] = 0.0F;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    bwd_silu<kWidth>(args, args.sequences[s], begin, end, sums);
    bwd_taps<kWidth>(args, args.sequences[s], begin, end, sums);
  }
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t n = lanes_left(end - c), v = (c - begin) / kLanes;
    if (args.grad_bias != nullptr) store_n(args.grad_bias + c, sums.bias[v], n);
    for (int64_t k = 0; k < smaller(args.width, kTaps); ++k) {
      for (int64_t i = 0; i < n; ++i) args.grad_weight[(c + i) * args.width + k] = sums.taps[v][k][i];
    }
  }
}

}  // namespace

void causal_conv1d_fwd_channels(const CausalConv1dFwd& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kBlock) {
    const int64_t last = smaller(c + kBlock, end);
    args.width == kUsualWidth ? fwd_block<kUsualWidth>(args, c, last) : fwd_block<0>(args, c, last);
  }
}

void causal_conv1d_bwd_channels(const CausalConv1dBwd& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kBlock) {
    const int64_t last = smaller(c + kBlock, end);
    args.width == kUsualWidth ? bwd_block<kUsualWidth>(args, c, last) : bwd_block<0>(args, c, last);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
