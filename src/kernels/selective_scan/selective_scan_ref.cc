#include <cmath>
#include <vector>

#include "base/extents.h"
#include "kernels/common/row_ranges.h"
#include "kernels/selective_scan/selective_scan.h"

namespace fathom::kernels {

namespace {

double softplus(double a) { return a > 20 ? a : std::log1p(std::exp(a)); }
double softplus_slope(double a) { return a > 20 ? 1.0 : 1.0 / (1.0 + std::exp(-a)); }

}  // namespace

void selective_scan_fwd_ref(const SelectiveScanFwd& args) {
  float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const ScanSequence& sequence = args.sequences[s];
    std::vector<double> h(static_cast<size_t>(args.inner * args.state));
    if (sequence.state != nullptr) h.assign(sequence.state, sequence.state + h.size());
    for (int64_t t = 0; t < sequence.rows.size(); ++t) {
      if (checkpoint != nullptr && t % kScanChunk == 0) {
        for (double value : h) *checkpoint++ = static_cast<float>(value);
      }
      const int64_t row = sequence.rows.begin + t;
      for (int64_t i = 0; i < args.inner; ++i) {
        const double x = args.x[row * args.inner + i];
        const double delta = softplus(double{args.dt[row * args.inner + i]} + args.dt_bias[i]);
        double y = args.d[i] * x;
        for (int64_t n = 0; n < args.state; ++n) {
          double& value = h[static_cast<size_t>(i * args.state + n)];
          value = std::exp(delta * args.a[i * args.state + n]) * value +
                  delta * args.b[row * args.bc_stride + n] * x;
          y += args.c[row * args.bc_stride + n] * value;
        }
        args.y[row * args.inner + i] = static_cast<float>(y);
      }
    }
    if (sequence.state == nullptr) continue;
    for (size_t i = 0; i < h.size(); ++i) sequence.state[i] = static_cast<float>(h[i]);
  }
}

// The formulas of Decoder-Hybrid-Decoder 2.5, all states kept.
void selective_scan_bwd_ref(const SelectiveScanBwd& args) {
  const int64_t inner = args.inner, state = args.state;
  std::vector<double> grad_a_log(static_cast<size_t>(inner * state)), grad_d(static_cast<size_t>(inner)),
      grad_bias(static_cast<size_t>(inner));
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange rows = args.sequences[s];
    std::vector<double> grad_b(static_cast<size_t>(rows.size() * state)), grad_c(grad_b.size());
    for (int64_t i = 0; i < inner; ++i) {
      std::vector<double> h(static_cast<size_t>((rows.size() + 1) * state)), decay(h.size());
      std::vector<double> grad_h(static_cast<size_t>(state));
      const auto pre = [&](int64_t t) {
        return double{args.dt[(rows.begin + t) * inner + i]} + args.dt_bias[i];
      };
      for (int64_t t = 0; t < rows.size(); ++t) {
        const int64_t row = rows.begin + t;
        for (int64_t n = 0; n < state; ++n) {
          const auto now = static_cast<size_t>((t + 1) * state + n),
                     before = static_cast<size_t>(t * state + n);
          decay[now] = std::exp(softplus(pre(t)) * args.a[i * state + n]);
          h[now] = decay[now] * h[before] +
                   softplus(pre(t)) * args.b[row * args.bc_stride + n] * args.x[row * inner + i];
        }
      }
      for (int64_t t = rows.size() - 1; t >= 0; --t) {
        const int64_t row = rows.begin + t;
        const double x = args.x[row * inner + i], grad = args.grad_y[row * inner + i],
                     delta = softplus(pre(t));
        double grad_x = grad * args.d[i], grad_delta = 0;
        grad_d[static_cast<size_t>(i)] += grad * x;
        for (int64_t n = 0; n < state; ++n) {
          const auto now = static_cast<size_t>((t + 1) * state + n),
                     before = static_cast<size_t>(t * state + n);
          double& gh = grad_h[static_cast<size_t>(n)];
          gh += grad * args.c[row * args.bc_stride + n];
          const double a = args.a[i * state + n], b = args.b[row * args.bc_stride + n];
          grad_c[before] += grad * h[now];
          grad_x += delta * gh * b;
          grad_b[before] += gh * delta * x;
          grad_delta += gh * (a * decay[now] * h[before] + b * x);
          grad_a_log[static_cast<size_t>(i * state + n)] += gh * delta * decay[now] * h[before] * a;
          gh *= decay[now];
        }
        args.grad_x[row * inner + i] = static_cast<float>(grad_x);
        const double grad_dt = grad_delta * softplus_slope(pre(t));
        args.grad_dt[row * inner + i] = static_cast<float>(grad_dt);
        grad_bias[static_cast<size_t>(i)] += grad_dt;
      }
    }
    for (int64_t t = 0; t < rows.size() * state; ++t) {
      args.grad_b[rows.begin * state + t] = static_cast<float>(grad_b[static_cast<size_t>(t)]);
      args.grad_c[rows.begin * state + t] = static_cast<float>(grad_c[static_cast<size_t>(t)]);
    }
  }
  for (int64_t i = 0; i < inner * state; ++i)
    args.grad_a_log[i] = static_cast<float>(grad_a_log[static_cast<size_t>(i)]);
  for (int64_t i = 0; i < inner; ++i) {
    args.grad_d[i] = static_cast<float>(grad_d[static_cast<size_t>(i)]);
    args.grad_dt_bias[i] = static_cast<float>(grad_bias[static_cast<size_t>(i)]);
  }
}

int64_t selective_scan_checkpoints(const RowRange* sequences, int64_t num_sequences, int64_t inner,
                                   int64_t state) {
  return row_pieces(sequences, num_sequences, kScanChunk) * inner * state;
}

}  // namespace fathom::kernels
