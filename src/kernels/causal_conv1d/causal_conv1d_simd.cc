#include "kernels/causal_conv1d/causal_conv1d_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// weight[c .. c + n) at tap k: the taps of a channel lie together, so lanes are gathered.
FATHOM_INLINE Vec tap(const float* weight, int64_t width, int64_t c, int64_t k, int64_t n) {
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = weight[(c + i) * width + k];
  return v;
}

}  // namespace

// Taps are added from the oldest input to the newest, whether an input lies in the call or in the state.
void causal_conv1d_fwd_channels(const CausalConv1dFwd& args, int64_t begin, int64_t end) {
  const int64_t channels = args.channels, width = args.width, past = width - 1;
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t n = lanes_left(end - c);
    const Vec bias = load_n(args.bias + c, n);
    for (int64_t s = 0; s < args.num_sequences; ++s) {
      const ConvSequence sequence = args.sequences[s];
      const float* x = args.x + sequence.rows.begin * channels + c;
      float* y = args.y + sequence.rows.begin * channels + c;
      const int64_t rows = sequence.rows.end - sequence.rows.begin;
      for (int64_t t = 0; t < rows; ++t) {
        Vec total = bias;
        for (int64_t k = 0; k < width; ++k) {
          const int64_t from = t - past + k;
          Vec input = {};
          if (from >= 0) {
            input = load_n(x + from * channels, n);
          } else if (sequence.state != nullptr) {
            input = load_n(sequence.state + (past + from) * channels + c, n);
          }
          total = fma(tap(args.weight, width, c, k, n), input, total);
        }
        store_n(y + t * channels, total * sigmoid(total), n);
      }
      if (sequence.state == nullptr) continue;
      // Oldest first: place k is overwritten before place k + 1 is read from, and only later places are read.
      for (int64_t k = 0; k < past; ++k) {
        const int64_t from = rows - past + k;
        const Vec input = from >= 0 ? load_n(x + from * channels, n)
                                    : load_n(sequence.state + (past + from) * channels + c, n);
        store_n(sequence.state + k * channels + c, input, n);
      }
    }
  }
}

void causal_conv1d_bwd_channels(const CausalConv1dBwd& args, int64_t begin, int64_t end) {
  const int64_t channels = args.channels, width = args.width, past = width - 1;
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t n = lanes_left(end - c);
    const Vec bias = load_n(args.bias + c, n);
    Vec grad_bias = {};
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < width; ++k) args.grad_weight[(c + i) * width + k] = 0.0F;
    }
    for (int64_t s = 0; s < args.num_sequences; ++s) {
      const int64_t first = args.sequences[s].begin, rows = args.sequences[s].end - first;
      const float* x = args.x + first * channels + c;
      const float* grad_y = args.grad_y + first * channels + c;
      float* grad_x = args.grad_x + first * channels + c;
      for (int64_t t = 0; t < rows; ++t) store_n(grad_x + t * channels, Vec{}, n);
      for (int64_t t = 0; t < rows; ++t) {
        const int64_t oldest = t < past ? past - t : 0;
        Vec total = bias;
        for (int64_t k = oldest; k < width; ++k) {
          total = fma(tap(args.weight, width, c, k, n), load_n(x + (t - past + k) * channels, n), total);
        }
        const Vec sig = sigmoid(total);
        const Vec grad = load_n(grad_y + t * channels, n) * (sig * fma(total, 1.0F - sig, broadcast(1.0F)));
        grad_bias = grad_bias + grad;
        for (int64_t k = oldest; k < width; ++k) {
          float* to = grad_x + (t - past + k) * channels;
          store_n(to, fma(grad, tap(args.weight, width, c, k, n), load_n(to, n)), n);
          const Vec share = grad * load_n(x + (t - past + k) * channels, n);
          for (int64_t i = 0; i < n; ++i) args.grad_weight[(c + i) * width + k] += share[i];
        }
      }
    }
    store_n(args.grad_bias + c, grad_bias, n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
