// The ops that only relaxed layers run.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "base/check.h"
#include "kernels/adapted_norms/adapted_norms.h"
#include "kernels/dropout/dropout.h"
#include "kernels/scale_columns/scale_columns.h"
#include "train/differentiable.h"
#include "train/op_profile.h"
#include "train/ops.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

// [dim]: scale / divisor, a scale of one number being that of every column.
Tensor factors(const Tensor& scale, const Tensor& divisor, int64_t dim) {
  FATHOM_CHECK(scale.numel() == dim || scale.numel() == 1, "a scale has one number, or one of each column");
  Tensor result = at::empty({dim}, at::kFloat);
  auto* to = result.mutable_data_ptr<float>();
  const auto* from = scale.const_data_ptr<float>();
  for (int64_t d = 0; d < dim; ++d) {
    to[d] = from[scale.numel() == 1 ? 0 : d];
    if (divisor.defined()) to[d] /= divisor.const_data_ptr<float>()[d];
  }
  return result;
}

// What comes back to the scale of what came back to its factors.
Tensor scale_gradient(const Tensor& grad_factors, const Tensor& scale, const Tensor& divisor) {
  const int64_t dim = grad_factors.numel();
  Tensor result = at::empty(scale.sizes(), at::kFloat);
  const auto* from = grad_factors.const_data_ptr<float>();
  auto* to = result.mutable_data_ptr<float>();
  double total = 0;
  for (int64_t d = 0; d < dim; ++d) {
    const float grad = divisor.defined() ? from[d] / divisor.const_data_ptr<float>()[d] : from[d];
    if (scale.numel() == dim) to[d] = grad;
    total += grad;
  }
  if (scale.numel() != dim) *to = static_cast<float>(total);
  return result;
}

Tensor dropped(const Tensor& x, double share, DropoutKey key) {
  Tensor y = at::empty(x.sizes(), at::kFloat);
  kernels::dropout_fwd_cpu({.x = x.const_data_ptr<float>(),
                            .y = y.mutable_data_ptr<float>(),
                            .count = x.numel(),
                            .share = static_cast<float>(share),
                            .seed = key.seed,
                            .stream = key.stream},
                           torch_parallel());
  return y;
}

}  // namespace

Tensor scale_columns(const Tensor& x, const Tensor& scale, const Tensor& divisor, const Tensor& base) {
  const OpTimer timer("scale_columns", OpPass::kForward);
  const int64_t rows = x.size(0), dim = x.size(1);
  const Tensor by = factors(scale, divisor, dim);
  std::vector<Tensor> outputs = {at::empty(x.sizes(), at::kFloat)};
  kernels::scale_columns_fwd_cpu({.x = x.const_data_ptr<float>(),
                                  .scale = by.const_data_ptr<float>(),
                                  .base = base.defined() ? base.const_data_ptr<float>() : nullptr,
                                  .y = outputs[0].mutable_data_ptr<float>(),
                                  .rows = rows,
                                  .dim = dim},
                                 torch_parallel());
  record("scale_columns", outputs, {x, scale, base},
         [=, has_base = base.defined()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
           Tensor grad_x = at::empty(x.sizes(), at::kFloat), grad_by = at::empty({dim}, at::kFloat),
                  workspace = at::empty({kernels::scale_columns_bwd_workspace(rows, dim)}, at::kFloat);
           kernels::scale_columns_bwd_cpu({.x = x.const_data_ptr<float>(),
                                           .scale = by.const_data_ptr<float>(),
                                           .grad_y = grads[0].const_data_ptr<float>(),
                                           .grad_x = grad_x.mutable_data_ptr<float>(),
                                           .grad_scale = grad_by.mutable_data_ptr<float>(),
                                           .workspace = workspace.mutable_data_ptr<float>(),
                                           .rows = rows,
                                           .dim = dim},
                                          torch_parallel());
           return {grad_x, scale_gradient(grad_by, scale, divisor), has_base ? grads[0] : Tensor()};
         });
  return outputs[0];
}

Tensor dropout(const Tensor& x, double share, DropoutKey key) {
  const OpTimer timer("dropout", OpPass::kForward);
  std::vector<Tensor> outputs = {dropped(x, share, key)};
  record("dropout", outputs, {x}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    return {dropped(grads[0], share, key)};
  });
  return outputs[0];
}

Tensor adapted_norms(const Tensor& weight, const Tensor& a, const Tensor& b, double scaling) {
  const OpTimer timer("adapted_norms", OpPass::kForward);
  Tensor norms = at::empty({weight.size(0)}, at::kFloat);
  kernels::adapted_norms_fwd_cpu({.weight = weight.const_data_ptr<float>(),
                                  .a = a.const_data_ptr<float>(),
                                  .b = b.const_data_ptr<float>(),
                                  .norms = norms.mutable_data_ptr<float>(),
                                  .in = weight.size(1),
                                  .out = weight.size(0),
                                  .rank = a.size(0),
                                  .scaling = static_cast<float>(scaling)},
                                 torch_parallel());
  return norms;
}

}  // namespace fathom::train
