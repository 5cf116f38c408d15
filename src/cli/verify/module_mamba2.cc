// Mamba-2 with its projections.
#include <algorithm>
#include <cmath>

#include "cli/verify/module_case.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom::cli::verify {

using kernels::RowRange;

namespace {

struct Mamba2Sizes {
  int64_t dim = 0, conv = 0;
  float eps = 0;
  kernels::SsdShape shape;
  int64_t channels() const { return shape.x_stride; }
};

Result<Mamba2Sizes> sizes_of(const ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"d_model", "d_inner", "headdim", "d_state", "d_conv", "ngroups",
                           "norm_before_gate", "eps", "in_proj_order"}));
  Mamba2Sizes s;
  FATHOM_ASSIGN(s.dim, c.size("d_model"));
  FATHOM_ASSIGN(const int64_t inner, c.size("d_inner"));
  FATHOM_ASSIGN(s.shape.head_dim, c.size("headdim"));
  FATHOM_ASSIGN(s.shape.state, c.size("d_state"));
  FATHOM_ASSIGN(s.conv, c.size("d_conv"));
  s.shape.heads = inner / s.shape.head_dim;
  s.shape.x_stride = inner + 2 * s.shape.state;
  if (s.shape.inner() != inner) return invalid(c.path + "/config.json: headdim does not divide d_inner");
  const nlohmann::json order = {"z", "x", "B", "C", "dt"};
  if (c.config.value("ngroups", 1) != 1 || c.config.value("norm_before_gate", false) ||
      c.config.value("in_proj_order", order) != order) {
    return not_supported("not supported yet: groups, a norm before the gate or another order of in_proj in " +
                         c.path);
  }
  s.eps = c.config.value("eps", 1e-5F);
  return s;
}

// One call of the mixer over `length` rows of each sequence.
struct Mamba2Run {
  Values z, xbc, conv, dt, y, rates, gated, rstd, out, checkpoints;
};

// Rows [begin, begin + rows) of in_proj, which holds z, x, B, C and dt.
std::span<const float> in_proj_rows(ModuleCase& c, const Mamba2Sizes& s, int64_t begin, int64_t rows) {
  return std::span(c.weights.at("in_proj.weight").values)
      .subspan(static_cast<size_t>(begin * s.dim), static_cast<size_t>(rows * s.dim));
}

Mamba2Run forward(ModuleCase& c, const Mamba2Sizes& s, std::span<const float> in, int64_t batch,
                  int64_t length, Values& conv_state, Values& ssm_state, const Values& a) {
  const int64_t rows = batch * length, inner = s.shape.inner(), channels = s.channels();
  const auto weight = [&](const char* name) { return c.weights.at(name).values.data(); };
  Mamba2Run run;
  run.z = linear(in, in_proj_rows(c, s, 0, inner), {}, rows, s.dim, inner, c.parallel);
  run.xbc = linear(in, in_proj_rows(c, s, inner, channels), {}, rows, s.dim, channels, c.parallel);
  run.dt = linear(in, in_proj_rows(c, s, inner + channels, s.shape.heads), {}, rows, s.dim, s.shape.heads,
                  c.parallel);
  std::vector<kernels::ConvSequence> conv_sequences;
  std::vector<kernels::SsdSequence> scan_sequences;
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) {
    ranges.push_back({b * length, (b + 1) * length});
    conv_sequences.push_back({ranges.back(), conv_state.data() + b * (s.conv - 1) * channels});
    scan_sequences.push_back({ranges.back(), ssm_state.data() + b * inner * s.shape.state});
  }
  run.conv = values(rows * channels);
  kernels::causal_conv1d_fwd_cpu({run.xbc.data(), weight("conv1d.weight"), weight("conv1d.bias"),
                                  run.conv.data(), conv_sequences.data(), batch, channels, s.conv},
                                 c.parallel);
  run.y = values(rows * inner);
  run.rates = values(rows * 2 * s.shape.heads);
  run.checkpoints = values(kernels::ssd_scan_checkpoints(ranges.data(), batch, s.shape));
  kernels::ssd_scan_fwd_cpu({.x = run.conv.data(),
                             .b = run.conv.data() + inner,
                             .c = run.conv.data() + inner + s.shape.state,
                             .dt = run.dt.data(),
                             .dt_bias = weight("dt_bias"),
                             .a = a.data(),
                             .d = weight("D"),
                             .y = run.y.data(),
                             .sequences = scan_sequences.data(),
                             .num_sequences = batch,
                             .rates = run.rates.data(),
                             .checkpoints = run.checkpoints.data(),
                             .shape = s.shape},
                            c.parallel);
  run.gated = values(rows * inner);
  run.rstd = values(rows);
  kernels::gated_memory_fwd_cpu({.memory = run.y.data(),
                                 .gate = run.z.data(),
                                 .weight = weight("norm.weight"),
                                 .y = run.gated.data(),
                                 .rstd = run.rstd.data(),
                                 .rows = rows,
                                 .dim = inner,
                                 .eps = s.eps},
                                c.parallel);
  run.out = linear(run.gated, c.weights.at("out_proj.weight").values, {}, rows, inner, s.dim, c.parallel);
  return run;
}

void backward(ModuleCase& c, const Mamba2Sizes& s, const Mamba2Run& run, std::span<const float> in,
              int64_t batch, int64_t length, const Values& a) {
  const int64_t rows = batch * length, inner = s.shape.inner(), channels = s.channels(),
                heads = s.shape.heads, state = s.shape.state;
  const auto weight = [&](const char* name) { return c.weights.at(name).values.data(); };
  const Values& grad_out = c.io.at("grad_out.y").values;
  const Values grad_gated =
      linear_grad_x(grad_out, c.weights.at("out_proj.weight").values, rows, inner, s.dim);
  Values grad_y = values(rows * inner), grad_z = values(rows * inner), grad_norm = values(inner),
         gate_workspace = values(kernels::gated_memory_bwd_workspace(rows, inner));
  kernels::gated_memory_bwd_cpu({.memory = run.y.data(),
                                 .gate = run.z.data(),
                                 .weight = weight("norm.weight"),
                                 .rstd = run.rstd.data(),
                                 .grad_y = grad_gated.data(),
                                 .grad_memory = grad_y.data(),
                                 .grad_gate = grad_z.data(),
                                 .grad_weight = grad_norm.data(),
                                 .workspace = gate_workspace.data(),
                                 .rows = rows,
                                 .dim = inner},
                                c.parallel);
  if (c.io.has("grad_out.memory")) add_into(grad_y, c.io.at("grad_out.memory").values);
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) ranges.push_back({b * length, (b + 1) * length});
  Values grad_conv = values(rows * channels), grad_b = values(rows * state), grad_c = values(rows * state),
         grad_dt = values(rows * heads), grad_dt_bias = values(heads), grad_a_log = values(heads),
         grad_d = values(heads),
         workspace = values(kernels::ssd_scan_bwd_workspace(rows, batch, s.shape, c.parallel.num_threads()));
  kernels::ssd_scan_bwd_cpu({.x = run.conv.data(),
                             .b = run.conv.data() + inner,
                             .c = run.conv.data() + inner + state,
                             .dt = run.dt.data(),
                             .dt_bias = weight("dt_bias"),
                             .a = a.data(),
                             .d = weight("D"),
                             .grad_y = grad_y.data(),
                             .rates = run.rates.data(),
                             .checkpoints = run.checkpoints.data(),
                             .sequences = ranges.data(),
                             .num_sequences = batch,
                             .grad_x = grad_conv.data(),
                             .grad_b = grad_b.data(),
                             .grad_c = grad_c.data(),
                             .grad_dt = grad_dt.data(),
                             .grad_dt_bias = grad_dt_bias.data(),
                             .grad_a_log = grad_a_log.data(),
                             .grad_d = grad_d.data(),
                             .workspace = workspace.data(),
                             .shape = s.shape,
                             .grad_x_stride = channels},
                            c.parallel);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(grad_b.begin() + r * state, state, grad_conv.begin() + r * channels + inner);
    std::copy_n(grad_c.begin() + r * state, state, grad_conv.begin() + r * channels + inner + state);
  }
  Values grad_xbc = values(rows * channels), grad_conv_weight = values(channels * s.conv),
         grad_conv_bias = values(channels);
  kernels::causal_conv1d_bwd_cpu(
      {run.xbc.data(), weight("conv1d.weight"), weight("conv1d.bias"), grad_conv.data(), ranges.data(), batch,
       grad_xbc.data(), grad_conv_weight.data(), grad_conv_bias.data(), channels, s.conv},
      c.parallel);
  Values grad_x = values(rows * s.dim), grad_in_proj;
  int64_t row = 0;
  for (const auto& [grad, out] : {std::pair{&grad_z, inner}, {&grad_xbc, channels}, {&grad_dt, heads}}) {
    add_into(grad_x, linear_grad_x(*grad, in_proj_rows(c, s, row, out), rows, s.dim, out));
    const Values part = linear_grad_weight(*grad, in, rows, s.dim, out);
    grad_in_proj.insert(grad_in_proj.end(), part.begin(), part.end());
    row += out;
  }
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.in_proj.weight", grad_in_proj);
  c.check_gradient("grad.conv1d.weight", grad_conv_weight);
  c.check_gradient("grad.conv1d.bias", grad_conv_bias);
  c.check_gradient("grad.dt_bias", grad_dt_bias);
  c.check_gradient("grad.A_log", grad_a_log);
  c.check_gradient("grad.D", grad_d);
  c.check_gradient("grad.norm.weight", grad_norm);
  c.check_gradient("grad.out_proj.weight", linear_grad_weight(grad_out, run.gated, rows, inner, s.dim));
}

}  // namespace

Status run_mamba2(ModuleCase& c) {
  FATHOM_ASSIGN(const Mamba2Sizes s, sizes_of(c));
  const int64_t inner = s.shape.inner(), heads = s.shape.heads;
  FATHOM_TRY(c.weights.expect("in_proj.weight", {inner + s.channels() + heads, s.dim}));
  FATHOM_TRY(c.weights.expect("conv1d.weight", {s.channels(), 1, s.conv}));
  FATHOM_TRY(c.weights.expect("conv1d.bias", {s.channels()}));
  for (const char* name : {"dt_bias", "A_log", "D"}) FATHOM_TRY(c.weights.expect(name, {heads}));
  FATHOM_TRY(c.weights.expect("norm.weight", {inner}));
  FATHOM_TRY(c.weights.expect("out_proj.weight", {s.dim, inner}));
  FATHOM_TRY(c.io.expect("in.x", {-1, -1, s.dim}));
  FATHOM_ASSIGN(const RecordedTensor* in, c.io.require("in.x"));
  FATHOM_TRY(c.io.expect("grad_out.y", in->shape));
  const int64_t batch = in->extent(0), length = in->extent(1);
  Values a;
  for (float a_log : c.weights.at("A_log").values) a.push_back(-std::exp(a_log));
  Values conv_state = values(batch * (s.conv - 1) * s.channels()),
         ssm_state = values(batch * inner * s.shape.state);
  const Mamba2Run run = forward(c, s, in->values, batch, length, conv_state, ssm_state, a);
  c.check("out.y", run.out);
  if (c.io.has("out.memory")) {
    c.check("out.memory", run.y);
    FATHOM_TRY(c.io.expect("grad_out.memory", {batch, length, inner}));
  }
  c.check_states("state", conv_state, ssm_state);
  // Token by token from there on.
  for (int64_t step = 0; c.io.has("decode." + std::to_string(step) + ".x"); ++step) {
    const std::string name = "decode." + std::to_string(step);
    FATHOM_TRY(c.io.expect(name + ".x", {batch, 1, s.dim}));
    c.check(name + ".y", forward(c, s, c.io.at(name + ".x").values, batch, 1, conv_state, ssm_state, a).out);
  }
  c.check_states("decode_end", conv_state, ssm_state);
  if (length >= 2) {
    std::ranges::fill(conv_state, 0.0F);
    std::ranges::fill(ssm_state, 0.0F);
    forward(c, s, first_positions(*in, 2), batch, 2, conv_state, ssm_state, a);
    c.check_states("state_after_2_tokens", conv_state, ssm_state);
  }
  backward(c, s, run, in->values, batch, length, a);
  return {};
}

}  // namespace fathom::cli::verify
