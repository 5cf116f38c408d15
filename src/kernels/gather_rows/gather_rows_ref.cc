#include "kernels/gather_rows/gather_rows.h"

namespace fathom::kernels {

void gather_rows_ref(const GatherRows& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    for (int64_t d = 0; d < args.dim; ++d) args.y[i * args.dim + d] = args.x[args.index[i] * args.dim + d];
  }
}

void scatter_add_rows_ref(const ScatterAddRows& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    const double weight = args.weights != nullptr ? args.weights[i] : 1.0;
    for (int64_t d = 0; d < args.dim; ++d) {
      float& y = args.y[args.index[i] * args.dim + d];
      y = static_cast<float>(y + weight * args.x[i * args.dim + d]);
    }
  }
}

void scatter_add_rows_bwd_ref(const ScatterAddRowsBwd& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    const double weight = args.weights != nullptr ? args.weights[i] : 1.0;
    double dot = 0;
    for (int64_t d = 0; d < args.dim; ++d) {
      const double grad = args.grad_y[args.index[i] * args.dim + d];
      args.grad_x[i * args.dim + d] = static_cast<float>(weight * grad);
      dot += grad * args.x[i * args.dim + d];
    }
    if (args.grad_weights != nullptr) args.grad_weights[i] = static_cast<float>(dot);
  }
}

}  // namespace fathom::kernels
