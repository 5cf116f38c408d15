#include "kernels/selective_scan/selective_scan_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Lanes are channels. States n are taken in groups that fit registers and first-level cache; a larger state
// takes several walks over time, each adding its share of y.
constexpr int64_t kStates = 16;

// lane i of element (c + i, n) of a [channels, state] array.
FATHOM_INLINE Vec load_column(const float* base, int64_t state, int64_t c, int64_t column, int64_t n) {
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = base[(c + i) * state + column];
  return v;
}
FATHOM_INLINE void store_column(float* base, int64_t state, int64_t c, int64_t column, int64_t n, Vec v) {
  for (int64_t i = 0; i < n; ++i) base[(c + i) * state + column] = v[i];
}

}  // namespace

void selective_scan_fwd_channels(const SelectiveScanFwd& args, int64_t begin, int64_t end) {
  const int64_t inner = args.inner, state = args.state;
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t lanes = lanes_left(end - c);
    const Vec bias = load_n(args.dt_bias + c, lanes), skip = load_n(args.d + c, lanes);
    for (int64_t first = 0; first < state; first += kStates) {
      const int64_t count = state - first < kStates ? state - first : kStates;
      Vec a[kStates], h[kStates];
      for (int64_t n = 0; n < count; ++n) a[n] = load_column(args.a, state, c, first + n, lanes);
      float* checkpoint = args.checkpoints;
      for (int64_t s = 0; s < args.num_sequences; ++s) {
        const ScanSequence sequence = args.sequences[s];
        for (int64_t n = 0; n < count; ++n) {
          h[n] = sequence.state != nullptr ? load_column(sequence.state, state, c, first + n, lanes) : Vec{};
        }
        for (int64_t row = sequence.rows.begin; row < sequence.rows.end; ++row) {
          if (checkpoint != nullptr && (row - sequence.rows.begin) % kScanChunk == 0) {
            for (int64_t n = 0; n < count; ++n) store_column(checkpoint, state, c, first + n, lanes, h[n]);
            checkpoint += inner * state;
          }
          const Vec x = load_n(args.x + row * inner + c, lanes);
          const Vec delta = softplus(load_n(args.dt + row * inner + c, lanes) + bias);
          const Vec drive = delta * x;
          const float* b = args.b + row * args.bc_stride + first;
          const float* out = args.c + row * args.bc_stride + first;
          float* y = args.y + row * inner + c;
          Vec total = first == 0 ? skip * x : load_n(y, lanes);
          for (int64_t n = 0; n < count; ++n) {
            h[n] = fma(exp(delta * a[n]), h[n], drive * b[n]);
            total = fma(h[n], broadcast(out[n]), total);
          }
          store_n(y, total, lanes);
        }
        if (sequence.state == nullptr) continue;
        for (int64_t n = 0; n < count; ++n) store_column(sequence.state, state, c, first + n, lanes, h[n]);
      }
    }
  }
}

void selective_scan_bwd_channels(const SelectiveScanBwd& args, int64_t begin, int64_t end, float* partial_b,
                                 float* partial_c) {
  const int64_t inner = args.inner, state = args.state;
  for (int64_t c = begin; c < end; c += kLanes) {
    const int64_t lanes = lanes_left(end - c);
    const Vec bias = load_n(args.dt_bias + c, lanes), skip = load_n(args.d + c, lanes);
    Vec grad_bias = {}, grad_skip = {};
    for (int64_t first = 0; first < state; first += kStates) {
      const int64_t count = state - first < kStates ? state - first : kStates;
      const bool last_group = first + count == state;
      Vec a[kStates], grad_a[kStates], grad_h[kStates];
      for (int64_t n = 0; n < count; ++n) {
        a[n] = load_column(args.a, state, c, first + n, lanes);
        grad_a[n] = Vec{};
      }
      const float* checkpoint = args.checkpoints;
      for (int64_t s = 0; s < args.num_sequences; ++s) {
        const RowRange rows = args.sequences[s];
        const int64_t chunks = (rows.end - rows.begin + kScanChunk - 1) / kScanChunk;
        for (int64_t n = 0; n < count; ++n) grad_h[n] = Vec{};
        for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
          const int64_t from = rows.begin + chunk * kScanChunk;
          const int64_t to = from + kScanChunk < rows.end ? from + kScanChunk : rows.end;
          // h before each row of the chunk, and behind the last one.
          Vec h[kScanChunk + 1][kStates], decay[kScanChunk][kStates], delta[kScanChunk];
          for (int64_t n = 0; n < count; ++n) {
            h[0][n] = load_column(checkpoint + chunk * inner * state, state, c, first + n, lanes);
          }
          for (int64_t row = from; row < to; ++row) {
            const int64_t t = row - from;
            delta[t] = softplus(load_n(args.dt + row * inner + c, lanes) + bias);
            const Vec drive = delta[t] * load_n(args.x + row * inner + c, lanes);
            const float* b = args.b + row * args.bc_stride + first;
            for (int64_t n = 0; n < count; ++n) {
              decay[t][n] = exp(delta[t] * a[n]);
              h[t + 1][n] = fma(decay[t][n], h[t][n], drive * b[n]);
            }
          }
          for (int64_t row = to - 1; row >= from; --row) {
            const int64_t t = row - from;
            const Vec x = load_n(args.x + row * inner + c, lanes),
                      grad = load_n(args.grad_y + row * inner + c, lanes);
            const Vec drive = delta[t] * x;
            const float* b = args.b + row * args.bc_stride + first;
            const float* out = args.c + row * args.bc_stride + first;
            Vec through_b = {}, grad_delta = {};
            for (int64_t n = 0; n < count; ++n) {
              const Vec g = fma(grad, broadcast(out[n]), grad_h[n]);
              partial_c[row * state + first + n] += sum(grad * h[t + 1][n]);
              partial_b[row * state + first + n] += sum(g * drive);
              through_b = fma(g, broadcast(b[n]), through_b);
              const Vec decayed = g * decay[t][n];
              const Vec past = decayed * h[t][n] * a[n];
              grad_delta = grad_delta + past;
              grad_a[n] = fma(past, delta[t], grad_a[n]);
              grad_h[n] = decayed;
            }
            grad_delta = fma(through_b, x, grad_delta);
            float* grad_x = args.grad_x + row * inner + c;
            float* grad_dt = args.grad_dt + row * inner + c;
            const Vec so_far_x = first == 0 ? grad * skip : load_n(grad_x, lanes);
            const Vec so_far_dt = first == 0 ? Vec{} : load_n(grad_dt, lanes);
            store_n(grad_x, fma(delta[t], through_b, so_far_x), lanes);
            Vec dt = so_far_dt + grad_delta;
            if (last_group) {
              const Vec pre = load_n(args.dt + row * inner + c, lanes) + bias;
              dt = dt * select((IVec)(pre > 20.0F), broadcast(1.0F), sigmoid(pre));
              grad_bias = grad_bias + dt;
              grad_skip = fma(grad, x, grad_skip);
            }
            store_n(grad_dt, dt, lanes);
          }
        }
        checkpoint += chunks * inner * state;
      }
      for (int64_t n = 0; n < count; ++n)
        store_column(args.grad_a_log, state, c, first + n, lanes, grad_a[n]);
    }
    store_n(args.grad_dt_bias + c, grad_bias, lanes);
    store_n(args.grad_d + c, grad_skip, lanes);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
