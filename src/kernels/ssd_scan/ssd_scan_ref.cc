#include <cmath>
#include <vector>

#include "base/extents.h"
#include "kernels/common/row_ranges.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom::kernels {

namespace {

double softplus(double a) { return a > 20 ? a : std::log1p(std::exp(a)); }
double softplus_slope(double a) { return a > 20 ? 1.0 : 1.0 / (1.0 + std::exp(-a)); }

// Where b and c of a head stand in a row.
int64_t group_at(const SsdShape& shape, int64_t row, int64_t head) {
  return row * shape.x_stride + head / (shape.heads / shape.groups) * shape.state;
}

}  // namespace

void ssd_scan_fwd_ref(const SsdScanFwd& args) {
  const SsdShape& shape = args.shape;
  const int64_t states = shape.state, inner = shape.inner();
  float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const SsdSequence& sequence = args.sequences[s];
    std::vector<double> h(static_cast<size_t>(inner * states));
    if (sequence.state != nullptr) h.assign(sequence.state, sequence.state + h.size());
    for (int64_t t = 0; t < sequence.rows.size(); ++t) {
      if (checkpoint != nullptr && t % kSsdChunk == 0) {
        for (double value : h) *checkpoint++ = static_cast<float>(value);
      }
      const int64_t row = sequence.rows.begin + t;
      for (int64_t i = 0; i < shape.heads; ++i) {
        const double delta = softplus(double{args.dt[row * shape.heads + i]} + args.dt_bias[i]);
        const double decay = std::exp(delta * args.a[i]);
        args.rates[row * 2 * shape.heads + i] = static_cast<float>(delta);
        args.rates[(row * 2 + 1) * shape.heads + i] = static_cast<float>(decay);
        const int64_t group = group_at(shape, row, i);
        for (int64_t p = i * shape.head_dim; p < (i + 1) * shape.head_dim; ++p) {
          const double x = args.x[row * shape.x_stride + p];
          double y = args.d[i] * x;
          for (int64_t n = 0; n < states; ++n) {
            double& value = h[static_cast<size_t>(p * states + n)];
            value = decay * value + delta * x * args.b[group + n];
            y += args.c[group + n] * value;
          }
          args.y[row * inner + p] = static_cast<float>(y);
        }
      }
    }
    if (sequence.state == nullptr) continue;
    for (size_t i = 0; i < h.size(); ++i) sequence.state[i] = static_cast<float>(h[i]);
  }
}

// The derivative of the recurrence, all states kept; one head after the other, backward in time.
void ssd_scan_bwd_ref(const SsdScanBwd& args) {
  const SsdShape& shape = args.shape;
  const int64_t states = shape.state, dim = shape.head_dim, inner = shape.inner();
  const int64_t group_width = shape.groups * states, of_head = dim * states;
  std::vector<double> grad_a_log(static_cast<size_t>(shape.heads)), grad_d(grad_a_log), grad_bias(grad_a_log);
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange rows = args.sequences[s];
    std::vector<double> grad_b(static_cast<size_t>(rows.size() * group_width)), grad_c(grad_b);
    for (int64_t i = 0; i < shape.heads; ++i) {
      std::vector<double> h(static_cast<size_t>((rows.size() + 1) * of_head)),
          grad_h(static_cast<size_t>(of_head));
      const auto pre = [&](int64_t t) {
        return double{args.dt[(rows.begin + t) * shape.heads + i]} + args.dt_bias[i];
      };
      const auto x_at = [&](int64_t t, int64_t p) {
        return double{args.x[(rows.begin + t) * shape.x_stride + i * dim + p]};
      };
      for (int64_t t = 0; t < rows.size(); ++t) {
        const double delta = softplus(pre(t)), decay = std::exp(delta * args.a[i]);
        const int64_t group = group_at(shape, rows.begin + t, i);
        for (int64_t k = 0; k < of_head; ++k) {
          h[static_cast<size_t>((t + 1) * of_head + k)] =
              decay * h[static_cast<size_t>(t * of_head + k)] +
              delta * x_at(t, k / states) * args.b[group + k % states];
        }
      }
      for (int64_t t = rows.size() - 1; t >= 0; --t) {
        const int64_t row = rows.begin + t, group = group_at(shape, row, i);
        const int64_t first = t * group_width + group - row * shape.x_stride;
        const double delta = softplus(pre(t)), decay = std::exp(delta * args.a[i]);
        double grad_decay = 0, grad_delta = 0;
        for (int64_t p = 0; p < dim; ++p) {
          const double x = x_at(t, p), grad = args.grad_y[row * inner + i * dim + p];
          double through_b = 0;
          grad_d[static_cast<size_t>(i)] += grad * x;
          for (int64_t n = 0; n < states; ++n) {
            const auto k = static_cast<size_t>(p * states + n);
            const double before = h[static_cast<size_t>(t * of_head) + k],
                         now = h[static_cast<size_t>((t + 1) * of_head) + k];
            double& gh = grad_h[k];
            gh += grad * args.c[group + n];
            grad_c[static_cast<size_t>(first + n)] += grad * now;
            grad_b[static_cast<size_t>(first + n)] += gh * delta * x;
            through_b += gh * args.b[group + n];
            grad_decay += gh * before;
            gh *= decay;
          }
          grad_delta += through_b * x;
          args.grad_x[row * args.grad_x_stride + i * dim + p] =
              static_cast<float>(grad * args.d[i] + delta * through_b);
        }
        grad_delta += grad_decay * decay * args.a[i];
        grad_a_log[static_cast<size_t>(i)] += grad_decay * decay * delta * args.a[i];
        const double grad_dt = grad_delta * softplus_slope(pre(t));
        args.grad_dt[row * shape.heads + i] = static_cast<float>(grad_dt);
        grad_bias[static_cast<size_t>(i)] += grad_dt;
      }
    }
    for (int64_t k = 0; k < rows.size() * group_width; ++k) {
      args.grad_b[rows.begin * group_width + k] = static_cast<float>(grad_b[static_cast<size_t>(k)]);
      args.grad_c[rows.begin * group_width + k] = static_cast<float>(grad_c[static_cast<size_t>(k)]);
    }
  }
  for (int64_t i = 0; i < shape.heads; ++i) {
    args.grad_a_log[i] = static_cast<float>(grad_a_log[static_cast<size_t>(i)]);
    args.grad_d[i] = static_cast<float>(grad_d[static_cast<size_t>(i)]);
    args.grad_dt_bias[i] = static_cast<float>(grad_bias[static_cast<size_t>(i)]);
  }
}

int64_t ssd_scan_checkpoints(const RowRange* sequences, int64_t num_sequences, const SsdShape& shape) {
  return row_pieces(sequences, num_sequences, kSsdChunk) * shape.inner() * shape.state;
}

}  // namespace fathom::kernels
