#include <cmath>
#include <vector>

#include "base/half.h"
#include "kernels/differential_norm/differential_norm.h"

namespace fathom::kernels {

namespace {

void fwd_in_bf16_steps(const DifferentialNormFwd& args) {
  for (int64_t p = 0; p < args.rows * args.pairs; ++p) {
    const float* first = args.x + 2 * p * args.dim;
    std::vector<float> m(static_cast<size_t>(args.dim));
    double squares = 0;
    for (int64_t d = 0; d < args.dim; ++d) {
      float& difference = m[static_cast<size_t>(d)];
      difference = round_to_bfloat16(first[d] - round_to_bfloat16(args.lambda * first[args.dim + d]));
      squares += double{difference} * difference;
    }
    const auto rstd = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(args.dim) + args.eps));
    for (int64_t d = 0; d < args.dim; ++d) {
      const float normed = round_to_bfloat16(m[static_cast<size_t>(d)] * rstd);
      args.y[p * args.dim + d] = round_to_bfloat16(round_to_bfloat16(normed * args.weight[d]) * args.scale);
    }
  }
}

}  // namespace

void differential_norm_fwd_ref(const DifferentialNormFwd& args) {
  if (args.bf16_steps) return fwd_in_bf16_steps(args);
  for (int64_t p = 0; p < args.rows * args.pairs; ++p) {
    const float* first = args.x + 2 * p * args.dim;
    const float* second = first + args.dim;
    const auto difference = [&](int64_t d) { return first[d] - double{args.lambda} * second[d]; };
    double squares = 0;
    for (int64_t d = 0; d < args.dim; ++d) squares += difference(d) * difference(d);
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(args.dim) + args.eps);
    for (int64_t d = 0; d < args.dim; ++d) {
      args.y[p * args.dim + d] =
          static_cast<float>(difference(d) * rstd * args.weight[d] * double{args.scale});
    }
    if (args.rstd != nullptr) args.rstd[p] = static_cast<float>(rstd);
  }
}

void differential_norm_bwd_ref(const DifferentialNormBwd& args) {
  const int64_t count = args.rows * args.pairs, dim = args.dim;
  const auto difference = [&](int64_t p, int64_t d) {
    return args.x[2 * p * dim + d] - double{args.lambda} * args.x[(2 * p + 1) * dim + d];
  };
  for (int64_t d = 0; d < dim; ++d) {
    double total = 0;
    for (int64_t p = 0; p < count; ++p) {
      total += double{args.grad_y[p * dim + d]} * args.scale * difference(p, d) * args.rstd[p];
    }
    args.grad_weight[d] = static_cast<float>(total);
  }
  double grad_lambda = 0;
  for (int64_t p = 0; p < count; ++p) {
    const float* g = args.grad_y + p * dim;
    const double rstd = args.rstd[p];
    double projection = 0;
    for (int64_t d = 0; d < dim; ++d)
      projection += double{g[d]} * args.scale * args.weight[d] * difference(p, d);
    const double pull = projection * rstd * rstd * rstd / static_cast<double>(dim);
    for (int64_t d = 0; d < dim; ++d) {
      const double grad = double{g[d]} * args.scale * args.weight[d] * rstd - difference(p, d) * pull;
      grad_lambda -= grad * args.x[(2 * p + 1) * dim + d];
      args.grad_x[2 * p * dim + d] = static_cast<float>(grad);
      args.grad_x[(2 * p + 1) * dim + d] = static_cast<float>(-args.lambda * grad);
    }
  }
  *args.grad_lambda = static_cast<float>(grad_lambda);
}

}  // namespace fathom::kernels
