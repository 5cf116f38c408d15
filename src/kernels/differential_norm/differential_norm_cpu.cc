#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/common/row_blocks.h"
#include "kernels/differential_norm/differential_norm_levels.h"

namespace fathom::kernels {

void differential_norm_fwd_cpu(const DifferentialNormFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(differential_norm_fwd_rows);
  parallel.run(args.rows, 4, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

// A block's gradients of weight and lambda, and the sum of all of them.
int64_t differential_norm_bwd_workspace(int64_t rows, int64_t dim) {
  return (row_blocks(rows) + 1) * (dim + 1);
}

void differential_norm_bwd_cpu(const DifferentialNormBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(differential_norm_bwd_rows);
  const int64_t blocks = row_blocks(args.rows), width = args.dim + 1;
  parallel.run(blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = args.workspace + block * width;
      std::memset(partial, 0, static_cast<size_t>(width) * sizeof(float));
      rows_fn(args, block * kRowBlock, std::min(args.rows, (block + 1) * kRowBlock), partial);
    }
  });
  float* total = args.workspace + blocks * width;
  reduce_row_blocks(args.workspace, blocks, width, total, parallel);
  std::copy_n(total, args.dim, args.grad_weight);
  *args.grad_lambda = total[args.dim];
}

namespace {

float exp_of_dot_bf16(const float* a, const float* b, int64_t dim) {
  float total = 0;
  for (int64_t d = 0; d < dim; ++d)
    total += round_to_bfloat16(round_to_bfloat16(a[d]) * round_to_bfloat16(b[d]));
  return round_to_bfloat16(std::exp(round_to_bfloat16(total)));
}

double dot(const float* a, const float* b, int64_t dim) {
  double total = 0;
  for (int64_t d = 0; d < dim; ++d) total += double{a[d]} * b[d];
  return total;
}

}  // namespace

float differential_lambda_fwd(const LambdaVectors& v, double lambda_init) {
  return static_cast<float>(std::exp(dot(v.q1, v.k1, v.dim)) - std::exp(dot(v.q2, v.k2, v.dim)) +
                            lambda_init);
}

float differential_lambda_bf16(const LambdaVectors& v, double lambda_init) {
  const float difference = exp_of_dot_bf16(v.q1, v.k1, v.dim) - exp_of_dot_bf16(v.q2, v.k2, v.dim);
  return round_to_bfloat16(round_to_bfloat16(difference) + static_cast<float>(lambda_init));
}

void differential_lambda_bwd(const LambdaVectors& v, float grad_lambda, const LambdaGradients& gradients) {
  const double first = grad_lambda * std::exp(dot(v.q1, v.k1, v.dim));
  const double second = -grad_lambda * std::exp(dot(v.q2, v.k2, v.dim));
  for (int64_t d = 0; d < v.dim; ++d) {
    gradients.q1[d] = static_cast<float>(first * v.k1[d]);
    gradients.k1[d] = static_cast<float>(first * v.q1[d]);
    gradients.q2[d] = static_cast<float>(second * v.k2[d]);
    gradients.k2[d] = static_cast<float>(second * v.q2[d]);
  }
}

}  // namespace fathom::kernels
