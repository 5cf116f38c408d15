// The ops of the mixers that carry a state from token to token, and of gated memory units.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/selective_scan/selective_scan.h"
#include "kernels/ssd_scan/ssd_scan.h"
#include "train/op_profile.h"
#include "train/op_tensors.h"
#include "train/ops.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

Tensor rates_of(const Tensor& a_log) {
  const at::NoGradGuard no_graph;
  return a_log.exp().neg();
}

// In training every sequence starts from nothing.
template <class Sequence>
std::vector<Sequence> fresh_sequences(const std::vector<RowRange>& sequences) {
  std::vector<Sequence> fresh;
  for (const RowRange& rows : sequences) fresh.push_back({rows, nullptr});
  return fresh;
}

}  // namespace

Tensor gated_memory(const Tensor& memory, const Tensor& gate, const Tensor& weight, double eps) {
  const OpTimer timer("gated_memory", OpPass::kForward);
  const int64_t rows = gate.size(0), dim = gate.size(1);
  Tensor y = like(gate), rstd = weight.defined() ? floats(rows) : Tensor();
  kernels::gated_memory_fwd_cpu({.memory = in(memory),
                                 .gate = in(gate),
                                 .weight = in(weight),
                                 .y = out(y),
                                 .rstd = out(rstd),
                                 .rows = rows,
                                 .dim = dim,
                                 .eps = static_cast<float>(eps)},
                                torch_parallel());
  return single("gated_memory", y, {memory, gate, weight},
                [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
                  Tensor grad_memory = like(memory), grad_gate = like(gate), grad_weight, workspace;
                  if (weight.defined()) {
                    grad_weight = like(weight);
                    workspace = floats(kernels::gated_memory_bwd_workspace(rows, dim));
                  }
                  kernels::gated_memory_bwd_cpu({.memory = in(memory),
                                                 .gate = in(gate),
                                                 .weight = in(weight),
                                                 .rstd = in(rstd),
                                                 .grad_y = in(grads[0]),
                                                 .grad_memory = out(grad_memory),
                                                 .grad_gate = out(grad_gate),
                                                 .grad_weight = out(grad_weight),
                                                 .workspace = out(workspace),
                                                 .rows = rows,
                                                 .dim = dim},
                                                torch_parallel());
                  return {grad_memory, grad_gate, grad_weight};
                });
}

Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const std::vector<RowRange>& sequences) {
  const OpTimer timer("causal_conv1d", OpPass::kForward);
  const int64_t channels = x.size(1), width = weight.size(1);
  const auto count = static_cast<int64_t>(sequences.size());
  const auto fresh = fresh_sequences<kernels::ConvSequence>(sequences);
  Tensor y = like(x);
  kernels::causal_conv1d_fwd_cpu({in(x), in(weight), in(bias), out(y), fresh.data(), count, channels, width},
                                 torch_parallel());
  return single(
      "causal_conv1d", y, {x, weight, bias}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
        Tensor grad_x = like(x), grad_weight = like(weight),
               grad_bias = bias.defined() ? like(bias) : Tensor();
        kernels::causal_conv1d_bwd_cpu({in(x), in(weight), in(bias), in(grads[0]), sequences.data(), count,
                                        out(grad_x), out(grad_weight), out(grad_bias), channels, width},
                                       torch_parallel());
        return {grad_x, grad_weight, grad_bias};
      });
}

Tensor selective_scan(const Tensor& x, const Tensor& dt, const Tensor& dt_bias, const Tensor& a_log,
                      const Tensor& dt_b_c, const Tensor& d, int64_t dt_rank,
                      const std::vector<RowRange>& sequences) {
  const OpTimer timer("selective_scan", OpPass::kForward);
  const int64_t rows = x.size(0), inner = x.size(1), state = a_log.size(1), stride = dt_b_c.size(1);
  const auto count = static_cast<int64_t>(sequences.size());
  const std::vector<Tensor> inputs = {x, dt, dt_bias, a_log, dt_b_c, d};
  Tensor y = like(x), rates = rates_of(a_log), checkpoints;
  if (wants_gradient(inputs)) {
    checkpoints = floats(kernels::selective_scan_checkpoints(sequences.data(), count, inner, state));
  }
  const auto fresh = fresh_sequences<kernels::ScanSequence>(sequences);
  kernels::selective_scan_fwd_cpu({.x = in(x),
                                   .dt = in(dt),
                                   .dt_bias = in(dt_bias),
                                   .a = in(rates),
                                   .b = in(dt_b_c) + dt_rank,
                                   .c = in(dt_b_c) + dt_rank + state,
                                   .d = in(d),
                                   .y = out(y),
                                   .sequences = fresh.data(),
                                   .num_sequences = count,
                                   .checkpoints = checkpoints.defined() ? out(checkpoints) : nullptr,
                                   .inner = inner,
                                   .state = state,
                                   .bc_stride = stride},
                                  torch_parallel());
  return single("selective_scan", y, inputs, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_x = like(x), grad_dt = like(dt), grad_bias = like(dt_bias), grad_a_log = like(a_log),
           grad_b = at::empty({rows, state}, at::kFloat), grad_c = at::empty({rows, state}, at::kFloat),
           grad_d = like(d), grad_dt_b_c = at::zeros({rows, stride}, at::kFloat),
           workspace = floats(kernels::selective_scan_bwd_workspace(rows, count, inner, state));
    kernels::selective_scan_bwd_cpu({.x = in(x),
                                     .dt = in(dt),
                                     .dt_bias = in(dt_bias),
                                     .a = in(rates),
                                     .b = in(dt_b_c) + dt_rank,
                                     .c = in(dt_b_c) + dt_rank + state,
                                     .d = in(d),
                                     .grad_y = in(grads[0]),
                                     .checkpoints = in(checkpoints),
                                     .sequences = sequences.data(),
                                     .num_sequences = count,
                                     .grad_x = out(grad_x),
                                     .grad_dt = out(grad_dt),
                                     .grad_dt_bias = out(grad_bias),
                                     .grad_a_log = out(grad_a_log),
                                     .grad_b = out(grad_b),
                                     .grad_c = out(grad_c),
                                     .grad_d = out(grad_d),
                                     .workspace = out(workspace),
                                     .inner = inner,
                                     .state = state,
                                     .bc_stride = stride},
                                    torch_parallel());
    grad_dt_b_c.narrow(1, dt_rank, state).copy_(grad_b);
    grad_dt_b_c.narrow(1, dt_rank + state, state).copy_(grad_c);
    return {grad_x, grad_dt, grad_bias, grad_a_log, grad_dt_b_c, grad_d};
  });
}

Tensor ssd_scan(const Tensor& xbc, const Tensor& dt, const Tensor& dt_bias, const Tensor& a_log,
                const Tensor& d, SsdSizes sizes, const std::vector<RowRange>& sequences) {
  const OpTimer timer("ssd_scan", OpPass::kForward);
  const kernels::SsdShape shape{.heads = d.size(0),
                                .head_dim = sizes.head_dim,
                                .state = sizes.state,
                                .groups = sizes.groups,
                                .x_stride = xbc.size(1)};
  const int64_t rows = xbc.size(0), inner = shape.inner(), width = shape.groups * shape.state;
  const auto count = static_cast<int64_t>(sequences.size());
  const std::vector<Tensor> inputs = {xbc, dt, dt_bias, a_log, d};
  Tensor y = at::empty({rows, inner}, at::kFloat), rates = floats(rows * 2 * shape.heads),
         a = rates_of(a_log), checkpoints,
         scratch = floats(kernels::ssd_scan_chunks_workspace(shape, torch_parallel().num_threads()));
  if (wants_gradient(inputs))
    checkpoints = floats(kernels::ssd_scan_checkpoints(sequences.data(), count, shape));
  const auto fresh = fresh_sequences<kernels::SsdSequence>(sequences);
  kernels::ssd_scan_fwd_chunks_cpu({.x = in(xbc),
                                    .b = in(xbc) + inner,
                                    .c = in(xbc) + inner + width,
                                    .dt = in(dt),
                                    .dt_bias = in(dt_bias),
                                    .a = in(a),
                                    .d = in(d),
                                    .y = out(y),
                                    .sequences = fresh.data(),
                                    .num_sequences = count,
                                    .rates = out(rates),
                                    .checkpoints = out(checkpoints),
                                    .workspace = out(scratch),
                                    .shape = shape},
                                   torch_parallel());
  return single("ssd_scan", y, inputs, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_xbc = like(xbc), grad_b = at::empty({rows, width}, at::kFloat), grad_c = like(grad_b),
           grad_dt = like(dt), grad_bias = like(dt_bias), grad_a_log = like(a_log), grad_d = like(d),
           workspace =
               floats(kernels::ssd_scan_bwd_workspace(rows, count, shape, torch_parallel().num_threads()));
    kernels::ssd_scan_bwd_cpu({.x = in(xbc),
                               .b = in(xbc) + inner,
                               .c = in(xbc) + inner + width,
                               .dt = in(dt),
                               .dt_bias = in(dt_bias),
                               .a = in(a),
                               .d = in(d),
                               .grad_y = in(grads[0]),
                               .rates = in(rates),
                               .checkpoints = in(checkpoints),
                               .sequences = sequences.data(),
                               .num_sequences = count,
                               .grad_x = out(grad_xbc),
                               .grad_b = out(grad_b),
                               .grad_c = out(grad_c),
                               .grad_dt = out(grad_dt),
                               .grad_dt_bias = out(grad_bias),
                               .grad_a_log = out(grad_a_log),
                               .grad_d = out(grad_d),
                               .workspace = out(workspace),
                               .shape = shape,
                               .grad_x_stride = shape.x_stride},
                              torch_parallel());
    grad_xbc.narrow(1, inner, width).copy_(grad_b);
    grad_xbc.narrow(1, inner + width, width).copy_(grad_c);
    return {grad_xbc, grad_dt, grad_bias, grad_a_log, grad_d};
  });
}

Tensor gated_delta(const DeltaInputs& given, const std::vector<RowRange>& sequences) {
  const OpTimer timer("gated_delta", OpPass::kForward);
  const DeltaInputs i = given;
  const int64_t rows = i.q.size(0), heads = i.a_log.size(0);
  const kernels::DeltaShape shape{heads, i.q.size(1) / heads, i.v.size(1) / heads};
  const auto count = static_cast<int64_t>(sequences.size());
  const std::vector<Tensor> inputs = {i.q, i.k, i.v, i.dt, i.b, i.dt_bias, i.a_log};
  Tensor y = like(i.v), terms = floats(rows * kernels::kDeltaTerms * heads), a = rates_of(i.a_log),
         workspace = floats(kernels::gated_delta_chunks_workspace(sequences.data(), count, shape,
                                                                  torch_parallel().num_threads())),
         checkpoints;
  if (wants_gradient(inputs))
    checkpoints = floats(kernels::gated_delta_checkpoints(sequences.data(), count, shape));
  const auto fresh = fresh_sequences<kernels::DeltaSequence>(sequences);
  kernels::gated_delta_fwd_chunks_cpu({.q = in(i.q),
                                       .k = in(i.k),
                                       .v = in(i.v),
                                       .dt = in(i.dt),
                                       .b = in(i.b),
                                       .dt_bias = in(i.dt_bias),
                                       .a = in(a),
                                       .y = out(y),
                                       .sequences = fresh.data(),
                                       .num_sequences = count,
                                       .terms = out(terms),
                                       .checkpoints = out(checkpoints),
                                       .workspace = out(workspace),
                                       .shape = shape},
                                      torch_parallel());
  return single("gated_delta", y, inputs, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_q = like(i.q), grad_k = like(i.k), grad_v = like(i.v), grad_dt = like(i.dt),
           grad_b = like(i.b), grad_bias = like(i.dt_bias), grad_a_log = like(i.a_log),
           scratch = floats(kernels::gated_delta_bwd_workspace(sequences.data(), count, shape,
                                                               torch_parallel().num_threads()));
    kernels::gated_delta_bwd_cpu({.q = in(i.q),
                                  .k = in(i.k),
                                  .v = in(i.v),
                                  .dt = in(i.dt),
                                  .b = in(i.b),
                                  .dt_bias = in(i.dt_bias),
                                  .a = in(a),
                                  .grad_y = in(grads[0]),
                                  .terms = in(terms),
                                  .checkpoints = in(checkpoints),
                                  .sequences = sequences.data(),
                                  .num_sequences = count,
                                  .grad_q = out(grad_q),
                                  .grad_k = out(grad_k),
                                  .grad_v = out(grad_v),
                                  .grad_dt = out(grad_dt),
                                  .grad_b = out(grad_b),
                                  .grad_dt_bias = out(grad_bias),
                                  .grad_a_log = out(grad_a_log),
                                  .workspace = out(scratch),
                                  .shape = shape},
                                 torch_parallel());
    return {grad_q, grad_k, grad_v, grad_dt, grad_b, grad_bias, grad_a_log};
  });
}

}  // namespace fathom::train
