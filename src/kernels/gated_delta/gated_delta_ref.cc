#include <cmath>
#include <vector>

#include "base/extents.h"
#include "kernels/common/row_ranges.h"
#include "kernels/gated_delta/gated_delta.h"

namespace fathom::kernels {

namespace {

constexpr double kEps = 1e-6;

double sigmoid(double a) { return 1.0 / (1.0 + std::exp(-a)); }
double softplus(double a) { return a > 20 ? a : std::log1p(std::exp(a)); }
double softplus_slope(double a) { return a > 20 ? 1.0 : sigmoid(a); }

double factor_of(const float* x, int64_t dim) {
  double squares = kEps;
  for (int64_t i = 0; i < dim; ++i) squares += double{x[i]} * x[i];
  return 1.0 / std::sqrt(squares);
}

// One head at one row, in double.
struct Step {
  std::vector<double> q, k;  // normalised, q scaled
  double q_factor = 0, k_factor = 0, delta = 0, alpha = 0, beta = 0;
};

struct Inputs {
  const float *q, *k, *dt, *b, *dt_bias, *a;
};

Step step_at(const Inputs& in, const DeltaShape& shape, int64_t row, int64_t head) {
  Step step;
  const float* q = in.q + row * shape.keys() + head * shape.key_dim;
  const float* k = in.k + row * shape.keys() + head * shape.key_dim;
  step.q_factor = factor_of(q, shape.key_dim) / std::sqrt(static_cast<double>(shape.key_dim));
  step.k_factor = factor_of(k, shape.key_dim);
  for (int64_t i = 0; i < shape.key_dim; ++i) {
    step.q.push_back(q[i] * step.q_factor);
    step.k.push_back(k[i] * step.k_factor);
  }
  step.delta = softplus(double{in.dt[row * shape.heads + head]} + in.dt_bias[head]);
  step.alpha = std::exp(step.delta * in.a[head]);
  step.beta = 2 * sigmoid(in.b[row * shape.heads + head]);
  return step;
}

using State = std::vector<double>;  // [key_dim, value_dim]

// S after the step; `error` becomes e.
State advance(const State& before, const Step& step, const float* v, const DeltaShape& shape,
              std::vector<double>& error) {
  State after(before.size());
  error.assign(v, v + shape.value_dim);
  for (size_t i = 0; i < before.size(); ++i) {
    const size_t key = i / error.size(), column = i % error.size();
    error[column] -= step.alpha * before[i] * step.k[key];
  }
  for (size_t i = 0; i < before.size(); ++i) {
    const size_t key = i / error.size(), column = i % error.size();
    after[i] = step.alpha * before[i] + step.beta * step.k[key] * error[column];
  }
  return after;
}

}  // namespace

void gated_delta_fwd_ref(const GatedDeltaFwd& args) {
  const DeltaShape& shape = args.shape;
  const auto size = static_cast<size_t>(shape.key_dim * shape.value_dim);
  const auto columns = static_cast<size_t>(shape.value_dim);
  const Inputs in{args.q, args.k, args.dt, args.b, args.dt_bias, args.a};
  float* checkpoint = args.checkpoints;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const DeltaSequence& sequence = args.sequences[s];
    for (int64_t head = 0; head < shape.heads; ++head) {
      State state(size);
      float* const kept = sequence.state == nullptr ? nullptr : sequence.state + head * int64_t(size);
      if (kept != nullptr) state.assign(kept, kept + size);
      for (int64_t t = 0; t < sequence.rows.size(); ++t) {
        const int64_t row = sequence.rows.begin + t;
        if (checkpoint != nullptr && t % kDeltaChunk == 0) {
          float* to = checkpoint + (t / kDeltaChunk * shape.heads + head) * int64_t(size);
          for (double value : state) *to++ = static_cast<float>(value);
        }
        const Step step = step_at(in, shape, row, head);
        const double terms[kDeltaTerms] = {step.q_factor, step.k_factor, step.delta, step.alpha, step.beta};
        for (int64_t i = 0; i < kDeltaTerms; ++i)
          args.terms[(row * kDeltaTerms + i) * shape.heads + head] = static_cast<float>(terms[i]);
        std::vector<double> error, y(columns);
        state = advance(state, step, args.v + row * shape.values() + head * shape.value_dim, shape, error);
        for (size_t i = 0; i < size; ++i) y[i % columns] += step.q[i / columns] * state[i];
        for (size_t j = 0; j < columns; ++j)
          args.y[row * shape.values() + head * shape.value_dim + int64_t(j)] = static_cast<float>(y[j]);
      }
      for (size_t i = 0; kept != nullptr && i < size; ++i) kept[i] = static_cast<float>(state[i]);
    }
    if (checkpoint != nullptr)
      checkpoint += ceil_div(sequence.rows.size(), kDeltaChunk) * shape.heads * int64_t(size);
  }
}

namespace {

// dL/dx from `grad`, dL/dx^ of x^ = factor x with factor = scale / sqrt(|x|^2 + eps).
void through_norm(const float* x, double factor, double scale, const std::vector<double>& grad, float* out) {
  double along = 0;
  for (size_t i = 0; i < grad.size(); ++i) along += x[i] * grad[i];
  for (size_t i = 0; i < grad.size(); ++i)
    out[i] = static_cast<float>(factor * (grad[i] - x[i] * along * factor * factor / (scale * scale)));
}

}  // namespace

// The derivative of the recurrence, all states kept; one head after the other, backward in time.
void gated_delta_bwd_ref(const GatedDeltaBwd& args) {
  const DeltaShape& shape = args.shape;
  const auto size = static_cast<size_t>(shape.key_dim * shape.value_dim);
  const auto keys = static_cast<size_t>(shape.key_dim), columns = static_cast<size_t>(shape.value_dim);
  for (int64_t head = 0; head < shape.heads; ++head) {
    double grad_a_log = 0, grad_bias = 0;
    for (int64_t s = 0; s < args.num_sequences; ++s) {
      const RowRange rows = args.sequences[s];
      std::vector<State> states = {State(size)};
      std::vector<Step> steps;
      std::vector<std::vector<double>> errors(static_cast<size_t>(rows.size()));
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const auto t = static_cast<size_t>(row - rows.begin);
        Step step = step_at({args.q, args.k, args.dt, args.b, args.dt_bias, args.a}, shape, row, head);
        states.push_back(advance(states.back(), step, args.v + row * shape.values() + head * shape.value_dim,
                                 shape, errors[t]));
        steps.push_back(std::move(step));
      }
      State grad(size);  // dL/dS_t
      for (int64_t row = rows.end - 1; row >= rows.begin; --row) {
        const auto t = static_cast<size_t>(row - rows.begin);
        const Step& step = steps[t];
        const State &before = states[t], &after = states[t + 1];
        const std::vector<double>& error = errors[t];
        const int64_t first = row * shape.values() + head * shape.value_dim;
        std::vector<double> grad_q(keys), grad_k(keys), grad_d(columns);  // d = beta e
        for (size_t i = 0; i < size; ++i) {
          const size_t key = i / columns, column = i % columns;
          const double g = args.grad_y[first + int64_t(column)];
          grad[i] += step.q[key] * g;
          grad_q[key] += g * after[i];
          grad_k[key] += step.beta * grad[i] * error[column];
          grad_d[column] += grad[i] * step.k[key];
        }
        double grad_beta = 0, grad_alpha = 0;
        for (size_t j = 0; j < columns; ++j) {
          grad_beta += grad_d[j] * error[j];
          grad_d[j] *= step.beta;  // dL/de
          args.grad_v[first + int64_t(j)] = static_cast<float>(grad_d[j]);
        }
        for (size_t i = 0; i < size; ++i) {
          const size_t key = i / columns, column = i % columns;
          grad_k[key] -= step.alpha * before[i] * grad_d[column];
          grad[i] -= step.k[key] * grad_d[column];  // dL/d(alpha S)
          grad_alpha += grad[i] * before[i];
          grad[i] *= step.alpha;
        }
        const int64_t at = row * shape.keys() + head * shape.key_dim;
        through_norm(args.q + at, step.q_factor, 1 / std::sqrt(static_cast<double>(shape.key_dim)), grad_q,
                     args.grad_q + at);
        through_norm(args.k + at, step.k_factor, 1, grad_k, args.grad_k + at);
        const int64_t one = row * shape.heads + head;
        args.grad_b[one] = static_cast<float>(grad_beta * step.beta * (1 - step.beta / 2));
        grad_a_log += grad_alpha * step.alpha * step.delta * args.a[head];
        const double grad_dt = grad_alpha * step.alpha * args.a[head] *
                               softplus_slope(double{args.dt[one]} + args.dt_bias[head]);
        args.grad_dt[one] = static_cast<float>(grad_dt);
        grad_bias += grad_dt;
      }
    }
    args.grad_a_log[head] = static_cast<float>(grad_a_log);
    args.grad_dt_bias[head] = static_cast<float>(grad_bias);
  }
}

int64_t gated_delta_checkpoints(const RowRange* sequences, int64_t num_sequences, const DeltaShape& shape) {
  return row_pieces(sequences, num_sequences, kDeltaChunk) * shape.heads * shape.key_dim * shape.value_dim;
}

}  // namespace fathom::kernels
