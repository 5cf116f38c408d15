// Mamba with its projections.
#include <algorithm>
#include <cmath>

#include "cli/verify/module_case.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/selective_scan/selective_scan.h"

namespace fathom::cli::verify {

using kernels::RowRange;

namespace {

struct MambaSizes {
  int64_t dim, inner, state, conv, dt_rank;
  int64_t bc() const { return dt_rank + 2 * state; }
};

// One call of the mixer over `length` rows of each sequence.
struct MambaRun {
  Values x, z, conv, dt_b_c, dt, y, gated, out, checkpoints;
};

MambaRun forward(ModuleCase& c, const MambaSizes& s, std::span<const float> in, int64_t batch, int64_t length,
                 Values& conv_state, Values& ssm_state, std::span<const float> rates, bool keep) {
  const int64_t rows = batch * length;
  const auto weight = [&](const char* name) -> const Values& { return c.weights.at(name).values; };
  const std::span<const float> in_proj = weight("in_proj.weight");
  const auto half = static_cast<size_t>(s.inner * s.dim);
  MambaRun run;
  run.x = linear(in, in_proj.first(half), {}, rows, s.dim, s.inner, c.parallel);
  run.z = linear(in, in_proj.last(half), {}, rows, s.dim, s.inner, c.parallel);
  run.conv = values(rows * s.inner);
  std::vector<kernels::ConvSequence> conv_sequences;
  std::vector<kernels::ScanSequence> scan_sequences;
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) {
    ranges.push_back({b * length, (b + 1) * length});
    conv_sequences.push_back({ranges.back(), conv_state.data() + b * (s.conv - 1) * s.inner});
    scan_sequences.push_back({ranges.back(), ssm_state.data() + b * s.inner * s.state});
  }
  kernels::causal_conv1d_fwd_cpu({run.x.data(), weight("conv1d.weight").data(), weight("conv1d.bias").data(),
                                  run.conv.data(), conv_sequences.data(), batch, s.inner, s.conv},
                                 c.parallel);
  run.dt_b_c = linear(run.conv, weight("x_proj.weight"), {}, rows, s.inner, s.bc(), c.parallel);
  Values dt_raw = values(rows * s.dt_rank);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(run.dt_b_c.begin() + r * s.bc(), s.dt_rank, dt_raw.begin() + r * s.dt_rank);
  }
  run.dt = linear(dt_raw, weight("dt_proj.weight"), {}, rows, s.dt_rank, s.inner, c.parallel);
  run.y = values(rows * s.inner);
  if (keep)
    run.checkpoints = values(kernels::selective_scan_checkpoints(ranges.data(), batch, s.inner, s.state));
  kernels::selective_scan_fwd_cpu({.x = run.conv.data(),
                                   .dt = run.dt.data(),
                                   .dt_bias = weight("dt_proj.bias").data(),
                                   .a = rates.data(),
                                   .b = run.dt_b_c.data() + s.dt_rank,
                                   .c = run.dt_b_c.data() + s.dt_rank + s.state,
                                   .d = weight("D").data(),
                                   .y = run.y.data(),
                                   .sequences = scan_sequences.data(),
                                   .num_sequences = batch,
                                   .checkpoints = keep ? run.checkpoints.data() : nullptr,
                                   .inner = s.inner,
                                   .state = s.state,
                                   .bc_stride = s.bc()},
                                  c.parallel);
  run.gated = values(rows * s.inner);
  kernels::gated_memory_fwd_cpu(
      {.memory = run.y.data(), .gate = run.z.data(), .y = run.gated.data(), .rows = rows, .dim = s.inner},
      c.parallel);
  run.out = linear(run.gated, weight("out_proj.weight"), {}, rows, s.inner, s.dim, c.parallel);
  return run;
}

}  // namespace

Status run_mamba(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"d_model", "d_state", "d_conv", "expand", "dt_rank"}));
  MambaSizes s{};
  FATHOM_ASSIGN(s.dim, c.size("d_model"));
  FATHOM_ASSIGN(s.state, c.size("d_state"));
  FATHOM_ASSIGN(s.conv, c.size("d_conv"));
  FATHOM_ASSIGN(s.dt_rank, c.size("dt_rank"));
  FATHOM_ASSIGN(const int64_t expand, c.size("expand"));
  s.inner = expand * s.dim;
  for (const char* name : {"in_proj.weight", "conv1d.weight", "conv1d.bias", "x_proj.weight",
                           "dt_proj.weight", "dt_proj.bias", "A_log", "D", "out_proj.weight"}) {
    FATHOM_TRY([&]() -> Status {
      FATHOM_ASSIGN(const RecordedTensor* tensor, c.weights.require(name));
      static_cast<void>(tensor);
      return {};
    }());
  }
  FATHOM_ASSIGN(const RecordedTensor* in, c.io.require("in.x"));
  const int64_t batch = in->extent(0), length = in->extent(1), rows = batch * length;
  Values rates;
  for (float a_log : c.weights.at("A_log").values) rates.push_back(-std::exp(a_log));
  Values conv_state = values(batch * (s.conv - 1) * s.inner), ssm_state = values(batch * s.inner * s.state);

  const MambaRun run = forward(c, s, in->values, batch, length, conv_state, ssm_state, rates, true);
  c.check("out.y", run.out);
  c.check("out.memory", run.y);
  c.check_states("state", conv_state, ssm_state);

  // Token by token from there on, and a short start.
  for (int64_t step = 0; c.io.has("decode." + std::to_string(step) + ".x"); ++step) {
    const std::string name = "decode." + std::to_string(step);
    const MambaRun token =
        forward(c, s, c.io.at(name + ".x").values, batch, 1, conv_state, ssm_state, rates, false);
    c.check(name + ".y", token.out);
  }
  c.check_states("decode_end", conv_state, ssm_state);
  if (length >= 2) {
    const Values short_in = first_positions(*in, 2);
    std::ranges::fill(conv_state, 0.0F);
    std::ranges::fill(ssm_state, 0.0F);
    forward(c, s, short_in, batch, 2, conv_state, ssm_state, rates, false);
    c.check_states("state_after_2_tokens", conv_state, ssm_state);
  }

  // Backward.
  const auto weight = [&](const char* name) -> const Values& { return c.weights.at(name).values; };
  const Values& grad_out = c.io.at("grad_out.y").values;
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) ranges.push_back({b * length, (b + 1) * length});
  const Values grad_gated = linear_grad_x(grad_out, weight("out_proj.weight"), rows, s.inner, s.dim);
  Values grad_y = values(rows * s.inner), grad_z = values(rows * s.inner);
  kernels::gated_memory_bwd_cpu({.memory = run.y.data(),
                                 .gate = run.z.data(),
                                 .grad_y = grad_gated.data(),
                                 .grad_memory = grad_y.data(),
                                 .grad_gate = grad_z.data(),
                                 .rows = rows,
                                 .dim = s.inner},
                                c.parallel);
  if (c.io.has("grad_out.memory")) add_into(grad_y, c.io.at("grad_out.memory").values);
  Values grad_conv = values(rows * s.inner), grad_dt = values(rows * s.inner), grad_dt_bias = values(s.inner),
         grad_a_log = values(s.inner * s.state), grad_b = values(rows * s.state),
         grad_c = values(rows * s.state), grad_d = values(s.inner),
         workspace = values(kernels::selective_scan_bwd_workspace(rows, batch, s.inner, s.state));
  kernels::selective_scan_bwd_cpu({.x = run.conv.data(),
                                   .dt = run.dt.data(),
                                   .dt_bias = weight("dt_proj.bias").data(),
                                   .a = rates.data(),
                                   .b = run.dt_b_c.data() + s.dt_rank,
                                   .c = run.dt_b_c.data() + s.dt_rank + s.state,
                                   .d = weight("D").data(),
                                   .grad_y = grad_y.data(),
                                   .checkpoints = run.checkpoints.data(),
                                   .sequences = ranges.data(),
                                   .num_sequences = batch,
                                   .grad_x = grad_conv.data(),
                                   .grad_dt = grad_dt.data(),
                                   .grad_dt_bias = grad_dt_bias.data(),
                                   .grad_a_log = grad_a_log.data(),
                                   .grad_b = grad_b.data(),
                                   .grad_c = grad_c.data(),
                                   .grad_d = grad_d.data(),
                                   .workspace = workspace.data(),
                                   .inner = s.inner,
                                   .state = s.state,
                                   .bc_stride = s.bc()},
                                  c.parallel);
  Values dt_raw = values(rows * s.dt_rank), grad_dt_b_c = values(rows * s.bc());
  const Values grad_dt_raw = linear_grad_x(grad_dt, weight("dt_proj.weight"), rows, s.dt_rank, s.inner);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(run.dt_b_c.begin() + r * s.bc(), s.dt_rank, dt_raw.begin() + r * s.dt_rank);
    std::copy_n(grad_dt_raw.begin() + r * s.dt_rank, s.dt_rank, grad_dt_b_c.begin() + r * s.bc());
    std::copy_n(grad_b.begin() + r * s.state, s.state, grad_dt_b_c.begin() + r * s.bc() + s.dt_rank);
    std::copy_n(grad_c.begin() + r * s.state, s.state,
                grad_dt_b_c.begin() + r * s.bc() + s.dt_rank + s.state);
  }
  add_into(grad_conv, linear_grad_x(grad_dt_b_c, weight("x_proj.weight"), rows, s.inner, s.bc()));
  Values grad_x_branch = values(rows * s.inner), grad_conv_weight = values(s.inner * s.conv),
         grad_conv_bias = values(s.inner);
  kernels::causal_conv1d_bwd_cpu({run.x.data(), weight("conv1d.weight").data(), weight("conv1d.bias").data(),
                                  grad_conv.data(), ranges.data(), batch, grad_x_branch.data(),
                                  grad_conv_weight.data(), grad_conv_bias.data(), s.inner, s.conv},
                                 c.parallel);
  const std::span<const float> in_proj = weight("in_proj.weight");
  const auto half = static_cast<size_t>(s.inner * s.dim);
  Values grad_x = linear_grad_x(grad_x_branch, in_proj.first(half), rows, s.dim, s.inner);
  add_into(grad_x, linear_grad_x(grad_z, in_proj.last(half), rows, s.dim, s.inner));
  Values grad_in_proj = linear_grad_weight(grad_x_branch, in->values, rows, s.dim, s.inner);
  const Values z_part = linear_grad_weight(grad_z, in->values, rows, s.dim, s.inner);
  grad_in_proj.insert(grad_in_proj.end(), z_part.begin(), z_part.end());
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.in_proj.weight", grad_in_proj);
  c.check_gradient("grad.conv1d.weight", grad_conv_weight);
  c.check_gradient("grad.conv1d.bias", grad_conv_bias);
  c.check_gradient("grad.x_proj.weight", linear_grad_weight(grad_dt_b_c, run.conv, rows, s.inner, s.bc()));
  c.check_gradient("grad.dt_proj.weight", linear_grad_weight(grad_dt, dt_raw, rows, s.dt_rank, s.inner));
  c.check_gradient("grad.dt_proj.bias", grad_dt_bias);
  c.check_gradient("grad.A_log", grad_a_log);
  c.check_gradient("grad.D", grad_d);
  c.check_gradient("grad.out_proj.weight", linear_grad_weight(grad_out, run.gated, rows, s.inner, s.dim));
  return {};
}

}  // namespace fathom::cli::verify
