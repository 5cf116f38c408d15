// What differential attention does with its two maps (arXiv 2410.05258; Decoder-Hybrid-Decoder 4.3): their
// weighted difference, normalised. For pair p of neighbouring heads:
//
//   m[r, p]  = x[r, 2p] - lambda x[r, 2p + 1]
//   rstd     = 1 / sqrt(mean_d m[d]^2 + eps)
//   y[r, p]  = m rstd weight scale                    scale = 1 - lambda_init
//
//   lambda   = exp(q1 . k1) - exp(q2 . k2) + lambda_init
//
// With bf16_steps every operation's result is rounded to bfloat16, but for the mean and rstd, as in the
// published inference code (Decoder-Hybrid-Decoder 10.2); x, weight and lambda are expected to be bfloat16.
//
// All arrays are float, dense and row-major, owned by the caller. Rows and pairs are independent: a result
// has the same bits whatever the other rows and the threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

struct DifferentialNormFwd {
  const float* x = nullptr;       // [rows, 2 * pairs, dim]
  const float* weight = nullptr;  // [dim]
  float* y = nullptr;             // [rows, pairs, dim]; not overlapping x
  float* rstd = nullptr;          // [rows, pairs], or null when no backward follows
  int64_t rows = 0;
  int64_t pairs = 0;
  int64_t dim = 0;
  float lambda = 0;
  float scale = 1;
  float eps = 0;
  bool bf16_steps = false;  // of an inference: no backward follows
};

struct DifferentialNormBwd {
  const float* x = nullptr;       // [rows, 2 * pairs, dim]
  const float* weight = nullptr;  // [dim]
  const float* rstd = nullptr;    // [rows, pairs], from the forward pass
  const float* grad_y = nullptr;  // [rows, pairs, dim]
  float* grad_x = nullptr;        // [rows, 2 * pairs, dim], overwritten
  float* grad_weight = nullptr;   // [dim], overwritten
  float* grad_lambda = nullptr;   // one number, overwritten
  float* workspace = nullptr;     // differential_norm_bwd_workspace(rows, dim) floats; the cpu form only
  int64_t rows = 0;
  int64_t pairs = 0;
  int64_t dim = 0;
  float lambda = 0;
  float scale = 1;
};

void differential_norm_fwd_ref(const DifferentialNormFwd& args);
void differential_norm_bwd_ref(const DifferentialNormBwd& args);

void differential_norm_fwd_cpu(const DifferentialNormFwd& args, Parallel& parallel);
void differential_norm_bwd_cpu(const DifferentialNormBwd& args, Parallel& parallel);
int64_t differential_norm_bwd_workspace(int64_t rows, int64_t dim);

// A layer's four vectors of `dim` elements each.
struct LambdaVectors {
  const float* q1 = nullptr;
  const float* k1 = nullptr;
  const float* q2 = nullptr;
  const float* k2 = nullptr;
  int64_t dim = 0;
};
// Gradients with respect to them, overwritten.
struct LambdaGradients {
  float* q1 = nullptr;
  float* k1 = nullptr;
  float* q2 = nullptr;
  float* k2 = nullptr;
};

// Few numbers, once a layer: in double, the same on every level.
float differential_lambda_fwd(const LambdaVectors& vectors, double lambda_init);
// The same in steps of bfloat16: products, their sums, both exponentials, their difference, lambda.
float differential_lambda_bf16(const LambdaVectors& vectors, double lambda_init);
void differential_lambda_bwd(const LambdaVectors& vectors, float grad_lambda,
                             const LambdaGradients& gradients);

}  // namespace fathom::kernels
