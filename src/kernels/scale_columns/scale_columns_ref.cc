#include <vector>

#include "kernels/scale_columns/scale_columns.h"

namespace fathom::kernels {

void scale_columns_fwd_ref(const ScaleColumnsFwd& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t d = 0; d < args.dim; ++d) {
      const int64_t i = r * args.dim + d;
      const double base = args.base != nullptr ? args.base[i] : 0.0;
      args.y[i] = static_cast<float>(base + double{args.x[i]} * args.scale[d]);
    }
  }
}

void scale_columns_bwd_ref(const ScaleColumnsBwd& args) {
  std::vector<double> grad_scale(static_cast<size_t>(args.dim));
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t d = 0; d < args.dim; ++d) {
      const int64_t i = r * args.dim + d;
      const double grad = args.grad_y[i];
      grad_scale[static_cast<size_t>(d)] += grad * args.x[i];
      args.grad_x[i] = static_cast<float>(grad * args.scale[d]);
    }
  }
  for (int64_t d = 0; d < args.dim; ++d)
    args.grad_scale[d] = static_cast<float>(grad_scale[static_cast<size_t>(d)]);
}

}  // namespace fathom::kernels
