#include <ATen/ops/empty.h>

#include "kernels/differential_norm/differential_norm.h"
#include "train/op_profile.h"
#include "train/op_tensors.h"
#include "train/ops.h"
#include "train/torch_parallel.h"

namespace fathom::train {

Tensor differential_lambda(const Tensor& q1, const Tensor& k1, const Tensor& q2, const Tensor& k2,
                           double lambda_init) {
  const OpTimer timer("differential_lambda", OpPass::kForward);
  const kernels::LambdaVectors vectors = {in(q1), in(k1), in(q2), in(k2), q1.numel()};
  const Tensor lambda = floats(1);
  *out(lambda) = kernels::differential_lambda_fwd(vectors, lambda_init);
  return single("differential_lambda", lambda, {q1, k1, q2, k2},
                [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
                  std::vector<Tensor> of = {like(q1), like(k1), like(q2), like(k2)};
                  kernels::differential_lambda_bwd({in(q1), in(k1), in(q2), in(k2), q1.numel()},
                                                   *in(grads[0]),
                                                   {out(of[0]), out(of[1]), out(of[2]), out(of[3])});
                  return of;
                });
}

Tensor differential_norm(const Tensor& x, const Tensor& lambda, const Tensor& weight, double scale,
                         double eps) {
  const OpTimer timer("differential_norm", OpPass::kForward);
  const int64_t rows = x.size(0), dim = weight.size(0), pairs = x.size(1) / (2 * dim);
  const Tensor rstd = floats(rows * pairs), y = at::empty({rows, pairs * dim}, at::kFloat);
  kernels::differential_norm_fwd_cpu({.x = in(x),
                                      .weight = in(weight),
                                      .y = out(y),
                                      .rstd = out(rstd),
                                      .rows = rows,
                                      .pairs = pairs,
                                      .dim = dim,
                                      .lambda = *in(lambda),
                                      .scale = static_cast<float>(scale),
                                      .eps = static_cast<float>(eps)},
                                     torch_parallel());
  return single("differential_norm", y, {x, lambda, weight},
                [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
                  Tensor grad_x = like(x), grad_lambda = like(lambda), grad_weight = like(weight),
                         workspace =
                             at::empty({kernels::differential_norm_bwd_workspace(rows, dim)}, at::kFloat);
                  kernels::differential_norm_bwd_cpu({.x = in(x),
                                                      .weight = in(weight),
                                                      .rstd = in(rstd),
                                                      .grad_y = in(grads[0]),
                                                      .grad_x = out(grad_x),
                                                      .grad_weight = out(grad_weight),
                                                      .grad_lambda = out(grad_lambda),
                                                      .workspace = out(workspace),
                                                      .rows = rows,
                                                      .pairs = pairs,
                                                      .dim = dim,
                                                      .lambda = *in(lambda),
                                                      .scale = static_cast<float>(scale)},
                                                     torch_parallel());
                  return {grad_x, grad_lambda, grad_weight};
                });
}

}  // namespace fathom::train
