#include "kernels/causal_conv1d/causal_conv1d_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Channels are cut into blocks and time into tiles, so that rows are met whole cache lines at a time and what
// a tap reads again is still in the first-level cache.
constexpr int64_t kBlock = 64;
constexpr int64_t kTile = 64;
constexpr int64_t kVecs = kBlock / kLanes;
constexpr int64_t kTaps = 8;  // taps kept as vectors; later ones are gathered where they are used

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

// Taps are added from the oldest input to the newest, whether an input lies in the call or in the state.
FATHOM_INLINE Vec convolve(const Taps& taps, Vec bias, const float* x, const float* state, int64_t channels,
                           int64_t t) {
  const int64_t past = taps.width - 1;
  Vec total = bias;
  if (t >= past) {
    const float* oldest = x + (t - past) * channels;
    for (int64_t k = 0; k < taps.width; ++k) {
      total = fma(taps.at(k), load_n(oldest + k * channels, taps.n), total);
    }
    return total;
  }
  for (int64_t k = 0; k < taps.width; ++k) {
    total = fma(taps.at(k), input(x, state, channels, past, t - past + k, taps.n), total);
  }
  return total;
}

FATHOM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

FATHOM_INLINE void fwd_block(const CausalConv1dFwd& args, int64_t begin, int64_t end) {
  const int64_t channels = args.channels, past = args.width - 1;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const ConvSequence sequence = args.sequences[s];
    const int64_t rows = sequence.rows.end - sequence.rows.begin;
    for (int64_t from = 0; from < rows; from += kTile) {
      for (int64_t c = begin; c < end; c += kLanes) {
        Taps taps;
        taps.load(args.weight, args.width, c, lanes_left(end - c));
        const Vec bias = load_n(args.bias + c, taps.n);
        const float* x = args.x + sequence.rows.begin * channels + c;
        float* y = args.y + sequence.rows.begin * channels + c;
        const float* state = sequence.state != nullptr ? sequence.state + c : nullptr;
        for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
          const Vec total = convolve(taps, bias, x, state, channels, t);
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
FATHOM_INLINE void bwd_silu(const CausalConv1dBwd& args, RowRange range, int64_t begin, int64_t end,
                            Sums& sums) {
  const int64_t channels = args.channels, rows = range.end - range.begin;
  for (int64_t from = 0; from < rows; from += kTile) {
    for (int64_t c = begin; c < end; c += kLanes) {
      Taps taps;
      taps.load(args.weight, args.width, c, lanes_left(end - c));
      const Vec bias = load_n(args.bias + c, taps.n);
      const int64_t start = range.begin * channels + c;
      Vec& sum = sums.bias[(c - begin) / kLanes];
      for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
        const int64_t cell = start + t * channels;
        const Vec total = convolve(taps, bias, args.x + start, nullptr, channels, t);
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
FATHOM_INLINE void bwd_taps(const CausalConv1dBwd& args, RowRange range, int64_t begin, int64_t end,
                            Sums& sums) {
  const int64_t channels = args.channels, past = args.width - 1, rows = range.end - range.begin;
  for (int64_t from = 0; from < rows; from += kTile) {
    for (int64_t c = begin; c < end; c += kLanes) {
      Taps taps;
      taps.load(args.weight, args.width, c, lanes_left(end - c));
      const float* x = args.x + range.begin * channels + c;
      float* grad_x = args.grad_x + range.begin * channels + c;
      Vec* sum = sums.taps[(c - begin) / kLanes];
      for (int64_t t = from; t < smaller(from + kTile, rows); ++t) {
        const Vec grad = load_n(grad_x + t * channels, taps.n);
        for (int64_t k = t < past ? past - t : 0; k < args.width; ++k) {
          const Vec value = load_n(x + (t - past + k) * channels, taps.n);
          if (k < kTaps) {
            sum[k] = fma(grad, value, sum[k]);
          } else {
            const Vec share = grad * value;
            for (int64_t i = 0; i < taps.n; ++i) args.grad_weight[(c + i) * args.width + k] += share[i];
          }
        }
        Vec total = {};
        for (int64_t j = 0; j < smaller(args.width, rows - t); ++j) {
          total = fma(taps.at(past - j), load_n(grad_x + (t + j) * channels, taps.n), total);
        }
        store_n(grad_x + t * channels, total, taps.n);
      }
    }
  }
}

FATHOM_INLINE void bwd_block(const CausalConv1dBwd& args, int64_t begin, int64_t end) {
  Sums sums;
  for (int64_t v = 0; v < kVecs; ++v) {
    sums.bias[v] = Vec{};
    for (int64_t k = 0; k < kTaps; ++k) sums.taps[v][k] = Vec{};
  }
  for (int64_t i = begin * args.width; i < end * args.width; ++i) args.grad_weight[i] = 0.0F;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    bwd_silu(args, args.sequences[s], begin, end, sums);
    bwd_taps(args, args.sequences[s], begin, end, sums);
  }
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t n = lanes_left(end - c), v = (c - begin) / kLanes;
    store_n(args.grad_bias + c, sums.bias[v], n);
    for (int64_t k = 0; k < smaller(args.width, kTaps); ++k) {
      for (int64_t i = 0; i < n; ++i) args.grad_weight[(c + i) * args.width + k] = sums.taps[v][k][i];
    }
  }
}

}  // namespace

void causal_conv1d_fwd_channels(const CausalConv1dFwd& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kBlock) fwd_block(args, c, smaller(c + kBlock, end));
}

void causal_conv1d_bwd_channels(const CausalConv1dBwd& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kBlock) bwd_block(args, c, smaller(c + kBlock, end));
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
