#include <cmath>
#include <vector>

#include "kernels/gated_memory/gated_memory.h"

namespace fathom::kernels {

namespace {

double sigmoid(double a) { return 1.0 / (1.0 + std::exp(-a)); }
double silu(double a) { return a * sigmoid(a); }
double silu_slope(double a) { return sigmoid(a) * (1.0 + a * (1.0 - sigmoid(a))); }

}  // namespace

void gated_memory_fwd_ref(const GatedMemoryFwd& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const int64_t row = r * args.dim;
    double squares = 0;
    for (int64_t d = 0; d < args.dim; ++d)
      squares += std::pow(args.memory[row + d] * silu(args.gate[row + d]), 2);
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(args.dim) + args.eps);
    for (int64_t d = 0; d < args.dim; ++d) {
      const double gated = args.memory[row + d] * silu(args.gate[row + d]);
      args.y[row + d] = static_cast<float>(args.weight != nullptr ? gated * rstd * args.weight[d] : gated);
    }
    if (args.rstd != nullptr) args.rstd[r] = static_cast<float>(rstd);
  }
}

void gated_memory_bwd_ref(const GatedMemoryBwd& args) {
  std::vector<double> grad_weight(static_cast<size_t>(args.dim));
  for (int64_t r = 0; r < args.rows; ++r) {
    const int64_t row = r * args.dim;
    const double rstd = args.weight != nullptr ? args.rstd[r] : 1.0;
    double projection = 0;
    if (args.weight != nullptr) {
      for (int64_t d = 0; d < args.dim; ++d) {
        const double gated = args.memory[row + d] * silu(args.gate[row + d]);
        projection += double{args.grad_y[row + d]} * args.weight[d] * gated;
        grad_weight[static_cast<size_t>(d)] += args.grad_y[row + d] * gated * rstd;
      }
    }
    for (int64_t d = 0; d < args.dim; ++d) {
      const double memory = args.memory[row + d], gate = args.gate[row + d];
      double grad = args.grad_y[row + d];
      if (args.weight != nullptr) {
        grad = rstd * (grad * args.weight[d] -
                       memory * silu(gate) * projection * rstd * rstd / static_cast<double>(args.dim));
      }
      args.grad_memory[row + d] = static_cast<float>(grad * silu(gate));
      args.grad_gate[row + d] = static_cast<float>(grad * memory * silu_slope(gate));
    }
  }
  if (args.grad_weight == nullptr) return;
  for (int64_t d = 0; d < args.dim; ++d)
    args.grad_weight[d] = static_cast<float>(grad_weight[static_cast<size_t>(d)]);
}

}  // namespace fathom::kernels
