#include "train/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "kernels/embedding/embedding.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/swiglu/swiglu.h"
#include "train/op_profile.h"
#include "train/op_tensors.h"
#include "train/torch_parallel.h"

namespace fathom::train {

Tensor embedding(const Tensor& table, const std::vector<int32_t>& ids) {
  const OpTimer timer("embedding", OpPass::kForward);
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t vocab = table.size(0), dim = table.size(1);
  Tensor y = at::empty({rows, dim}, at::kFloat);
  kernels::embedding_fwd_cpu(
      {.ids = ids.data(), .table = in(table), .y = out(y), .rows = rows, .dim = dim, .vocab = vocab},
      torch_parallel());
  return single("embedding", y, {table}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const GradientSink grad(table);
    kernels::embedding_bwd_cpu({.ids = ids.data(),
                                .grad_y = in(grads[0]),
                                .grad_table = grad.data(),
                                .rows = rows,
                                .dim = dim,
                                .vocab = vocab,
                                .accumulate = grad.accumulate},
                               torch_parallel());
    return {grad.returned};
  });
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const OpTimer timer("rms_norm", OpPass::kForward);
  const int64_t rows = x.size(0), dim = x.size(1);
  Tensor y = like(x), rstd = floats(rows);
  kernels::rms_norm_fwd_cpu({in(x), in(weight), out(y), out(rstd), rows, dim, static_cast<float>(eps)},
                            torch_parallel());
  return single("rms_norm", y, {x, weight}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_x = like(x), grad_weight = like(weight),
           workspace = floats(kernels::rms_norm_bwd_workspace(rows, dim));
    kernels::rms_norm_bwd_cpu(
        {in(x), in(weight), in(rstd), in(grads[0]), out(grad_x), out(grad_weight), out(workspace), rows, dim},
        torch_parallel());
    return {grad_x, grad_weight};
  });
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const OpTimer timer("layer_norm", OpPass::kForward);
  const int64_t rows = x.size(0), dim = x.size(1);
  Tensor y = like(x), mean = floats(rows), rstd = floats(rows);
  kernels::layer_norm_fwd_cpu(
      {in(x), in(weight), in(bias), out(y), out(mean), out(rstd), rows, dim, static_cast<float>(eps)},
      torch_parallel());
  return single(
      "layer_norm", y, {x, weight, bias}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
        Tensor grad_x = like(x), grad_weight = like(weight), grad_bias = like(weight),
               workspace = floats(kernels::layer_norm_bwd_workspace(rows, dim));
        kernels::layer_norm_bwd_cpu({in(x), in(weight), in(mean), in(rstd), in(grads[0]), out(grad_x),
                                     out(grad_weight), out(grad_bias), out(workspace), rows, dim},
                                    torch_parallel());
        return {grad_x, grad_weight, grad_bias};
      });
}

void fill_rope_tables(RopeTables& tables, double theta, bool round_to_bf16, bool round_frequencies_to_bf16) {
  kernels::rope_table(tables.cos.data(), tables.sin.data(), tables.positions, tables.head_dim, theta,
                      round_to_bf16, round_frequencies_to_bf16);
}

Tensor rope(const Tensor& x, const std::shared_ptr<const RopeTables>& tables,
            const std::shared_ptr<const std::vector<int32_t>>& positions, int64_t heads) {
  const OpTimer timer("rope", OpPass::kForward);
  const auto rotated = [=](const Tensor& from, bool inverse) {
    Tensor y = from.clone();
    kernels::rope_fwd_cpu({.x = out(y),
                           .positions = positions->data(),
                           .cos = tables->cos.data(),
                           .sin = tables->sin.data(),
                           .table_positions = tables->positions,
                           .rows = y.size(0),
                           .heads = heads,
                           .head_dim = tables->head_dim,
                           .x_stride = y.size(1),
                           .inverse = inverse},
                          torch_parallel());
    return y;
  };
  return single("rope", rotated(x.detach(), false), {x},
                [rotated](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
                  return {rotated(grads[0], true)};
                });
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  const OpTimer timer("swiglu", OpPass::kForward);
  Tensor y = like(gate);
  kernels::swiglu_fwd_cpu({in(gate), in(up), out(y), gate.numel()}, torch_parallel());
  return single("swiglu", y, {gate, up}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_gate = like(gate), grad_up = like(up);
    kernels::swiglu_bwd_cpu({in(gate), in(up), in(grads[0]), out(grad_gate), out(grad_up), gate.numel()},
                            torch_parallel());
    return {grad_gate, grad_up};
  });
}

Tensor gelu(const Tensor& x, double scale) {
  const OpTimer timer("gelu", OpPass::kForward);
  const auto s = static_cast<float>(scale);
  Tensor y = like(x);
  kernels::gelu_fwd_cpu({in(x), out(y), x.numel(), s}, torch_parallel());
  return single("gelu", y, {x}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_x = like(x);
    kernels::gelu_bwd_cpu({in(x), in(grads[0]), out(grad_x), x.numel(), s}, torch_parallel());
    return {grad_x};
  });
}

RouterScores router_scores(const Tensor& x, const Tensor& weight, double temperature, double alpha,
                           kernels::RouterScore score) {
  const OpTimer timer("router_scores", OpPass::kForward);
  const int64_t rows = x.size(0), dim = x.size(1), count = weight.size(0);
  Tensor logits = at::empty({rows, count}, at::kFloat), weights = like(logits);
  const auto t = static_cast<float>(temperature), a = static_cast<float>(alpha);
  kernels::router_fwd_cpu({in(x), in(weight), out(logits), out(weights), rows, dim, count, t, a, score},
                          torch_parallel());
  std::vector<Tensor> outputs = {logits, weights};
  const Tensor kept_logits = logits.detach();
  record("router_scores", outputs, {x, weight}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_x = like(x), grad_weight = at::empty(weight.sizes(), at::kFloat),
           workspace = floats(kernels::router_bwd_workspace(rows, dim, count));
    kernels::router_bwd_cpu({in(x), in(weight), in(kept_logits), in(grads[1]), in(grads[0]), out(grad_x),
                             out(grad_weight), out(workspace), rows, dim, count, t, a, score},
                            torch_parallel());
    return {grad_x, grad_weight};
  });
  return {outputs[0], outputs[1]};
}

Tensor router_bce(const Tensor& logits, const std::vector<int32_t>& kept) {
  const OpTimer timer("router_bce", OpPass::kForward);
  const int64_t rows = logits.numel();
  double loss = 0;
  Tensor grad_logits = like(logits);
  kernels::router_bce_ref({in(logits), kept.data(), rows, static_cast<int64_t>(kept.size()),
                           1.0F / static_cast<float>(rows), &loss, out(grad_logits)});
  Tensor result = at::zeros({}, at::kFloat);
  *out(result) = static_cast<float>(loss);
  return single("router_bce", result, {logits}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    return {grad_logits * grads[0]};
  });
}

Tensor gather_rows(const Tensor& x, const std::vector<int32_t>& index) {
  const OpTimer timer("gather_rows", OpPass::kForward);
  const int64_t total = x.size(0), dim = x.size(1);
  const auto rows = static_cast<int64_t>(index.size());
  Tensor y = at::empty({rows, dim}, at::kFloat);
  kernels::gather_rows_cpu({in(x), index.data(), out(y), rows, dim}, torch_parallel());
  return single("gather_rows", y, {x}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad = at::zeros({total, dim}, at::kFloat);
    kernels::scatter_add_rows_cpu({in(grads[0]), index.data(), nullptr, out(grad), rows, dim},
                                  torch_parallel());
    return {grad};
  });
}

Tensor replace_rows(const Tensor& y, const Tensor& x, const std::vector<int32_t>& index) {
  const OpTimer timer("replace_rows", OpPass::kForward);
  const auto dim = static_cast<size_t>(x.size(1));
  const auto rows = static_cast<int64_t>(index.size());
  Tensor replaced = y.detach().clone();
  for (size_t i = 0; i < index.size(); ++i)
    std::copy_n(in(x) + i * dim, dim, out(replaced) + static_cast<size_t>(index[i]) * dim);
  return single(
      "replace_rows", replaced, {y, x}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
        Tensor grad_y = grads[0].clone(), grad_x = at::empty({rows, static_cast<int64_t>(dim)}, at::kFloat);
        kernels::gather_rows_cpu({in(grads[0]), index.data(), out(grad_x), rows, static_cast<int64_t>(dim)},
                                 torch_parallel());
        for (int32_t row : index) std::fill_n(out(grad_y) + static_cast<size_t>(row) * dim, dim, 0.0F);
        return {grad_y, grad_x};
      });
}

Tensor scatter_add_rows(const Tensor& y, const Tensor& x, const std::vector<int32_t>& index,
                        const Tensor& weights) {
  const OpTimer timer("scatter_add_rows", OpPass::kForward);
  const int64_t rows = x.size(0), dim = x.size(1);
  Tensor sum = y.detach().clone();
  kernels::scatter_add_rows_cpu(
      {in(x), index.data(), weights.defined() ? in(weights) : nullptr, out(sum), rows, dim},
      torch_parallel());
  return single("scatter_add_rows", sum, {y, x, weights},
                [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
                  Tensor grad_x = like(x), grad_weights = weights.defined() ? like(weights) : Tensor();
                  kernels::scatter_add_rows_bwd_cpu(
                      {in(x), index.data(), weights.defined() ? in(weights) : nullptr, in(grads[0]),
                       out(grad_x), weights.defined() ? out(grad_weights) : nullptr, rows, dim},
                      torch_parallel());
                  return {grads[0], grad_x, grad_weights};
                });
}

}  // namespace fathom::train
