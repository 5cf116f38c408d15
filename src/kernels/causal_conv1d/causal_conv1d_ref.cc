#include <cmath>
#include <vector>

#include "kernels/causal_conv1d/causal_conv1d.h"

namespace fathom::kernels {

namespace {

double sigmoid(double a) { return 1.0 / (1.0 + std::exp(-a)); }

}  // namespace

void causal_conv1d_fwd_ref(const CausalConv1dFwd& args) {
  const int64_t channels = args.channels, past = args.width - 1;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const ConvSequence& sequence = args.sequences[s];
    // Input t of the sequence; t < 0 reaches into the state.
    const auto input = [&](int64_t t, int64_t c) -> float {
      if (t >= 0) return args.x[(sequence.rows.begin + t) * channels + c];
      return sequence.state != nullptr ? sequence.state[(past + t) * channels + c] : 0.0F;
    };
    for (int64_t t = 0; t < sequence.rows.size(); ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        double total = args.bias != nullptr ? args.bias[c] : 0.0F;
        for (int64_t k = 0; k < args.width; ++k)
          total += double{args.weight[c * args.width + k]} * input(t - past + k, c);
        args.y[(sequence.rows.begin + t) * channels + c] = static_cast<float>(total * sigmoid(total));
      }
    }
    if (sequence.state == nullptr) continue;
    std::vector<float> next;
    for (int64_t k = 0; k < past; ++k) {
      for (int64_t c = 0; c < channels; ++c) next.push_back(input(sequence.rows.size() - past + k, c));
    }
    for (size_t i = 0; i < next.size(); ++i) sequence.state[i] = next[i];
  }
}

void causal_conv1d_bwd_ref(const CausalConv1dBwd& args) {
  const int64_t channels = args.channels, past = args.width - 1;
  for (int64_t c = 0; c < channels; ++c) {
    double grad_bias = 0;
    std::vector<double> grad_weight(static_cast<size_t>(args.width));
    for (int64_t s = 0; s < args.num_sequences; ++s) {
      const RowRange rows = args.sequences[s];
      std::vector<double> grad_x(static_cast<size_t>(rows.size()));
      for (int64_t t = 0; t < rows.size(); ++t) {
        double total = args.bias != nullptr ? args.bias[c] : 0.0F;
        for (int64_t k = 0; k < args.width; ++k) {
          const int64_t from = t - past + k;
          if (from >= 0)
            total += double{args.weight[c * args.width + k]} * args.x[(rows.begin + from) * channels + c];
        }
        const double slope = sigmoid(total) * (1.0 + total * (1.0 - sigmoid(total)));
        const double grad = args.grad_y[(rows.begin + t) * channels + c] * slope;
        grad_bias += grad;
        for (int64_t k = 0; k < args.width; ++k) {
          const int64_t from = t - past + k;
          if (from < 0) continue;
          grad_weight[static_cast<size_t>(k)] += grad * args.x[(rows.begin + from) * channels + c];
          grad_x[static_cast<size_t>(from)] += grad * args.weight[c * args.width + k];
        }
      }
      for (int64_t t = 0; t < rows.size(); ++t) {
        args.grad_x[(rows.begin + t) * channels + c] = static_cast<float>(grad_x[static_cast<size_t>(t)]);
      }
    }
    if (args.grad_bias != nullptr) args.grad_bias[c] = static_cast<float>(grad_bias);
    for (int64_t k = 0; k < args.width; ++k) {
      args.grad_weight[c * args.width + k] = static_cast<float>(grad_weight[static_cast<size_t>(k)]);
    }
  }
}

}  // namespace fathom::kernels
