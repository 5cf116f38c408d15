// Gated DeltaNet with its projections.
#include <cmath>

#include "cli/verify/module_case.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/gated_memory/gated_memory.h"

namespace fathom::cli::verify {

using kernels::RowRange;

namespace {

struct DeltaSizes {
  int64_t dim = 0, conv = 0;
  float eps = 0;
  kernels::DeltaShape shape;
};

Result<DeltaSizes> sizes_of(const ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"hidden_size", "num_heads", "head_dim", "expand_v", "conv_size", "norm_eps",
                           "q_scale", "l2norm_eps"}));
  DeltaSizes s;
  FATHOM_ASSIGN(s.dim, c.size("hidden_size"));
  FATHOM_ASSIGN(s.shape.heads, c.size("num_heads"));
  FATHOM_ASSIGN(s.shape.key_dim, c.size("head_dim"));
  FATHOM_ASSIGN(const int64_t expand, c.size("expand_v"));
  FATHOM_ASSIGN(s.conv, c.size("conv_size"));
  s.shape.value_dim = expand * s.shape.key_dim;
  s.eps = c.config.value("norm_eps", 1e-5F);
  const double scale = 1 / std::sqrt(static_cast<double>(s.shape.key_dim));
  if (c.config.value("l2norm_eps", 1e-6) != 1e-6 ||
      std::fabs(c.config.value("q_scale", scale) - scale) > 1e-9 * scale) {
    return not_supported("not supported yet: another scale of q or another l2norm_eps in " + c.path);
  }
  return s;
}

Status check_shapes(ModuleCase& c, const DeltaSizes& s) {
  const int64_t keys = s.shape.keys(), all = s.shape.values(), heads = s.shape.heads;
  for (const char* name : {"q", "k"}) {
    FATHOM_TRY(c.weights.expect(std::string(name) + "_proj.weight", {keys, s.dim}));
    FATHOM_TRY(c.weights.expect(std::string(name) + "_conv1d.weight", {keys, 1, s.conv}));
  }
  for (const char* name : {"v_proj.weight", "g_proj.weight"})
    FATHOM_TRY(c.weights.expect(name, {all, s.dim}));
  FATHOM_TRY(c.weights.expect("v_conv1d.weight", {all, 1, s.conv}));
  for (const char* name : {"a_proj.weight", "b_proj.weight"})
    FATHOM_TRY(c.weights.expect(name, {heads, s.dim}));
  for (const char* name : {"A_log", "dt_bias"}) FATHOM_TRY(c.weights.expect(name, {heads}));
  FATHOM_TRY(c.weights.expect("norm.weight", {all}));
  FATHOM_TRY(c.weights.expect("o_proj.weight", {s.dim, all}));
  FATHOM_TRY(c.io.expect("in.x", {-1, -1, s.dim}));
  return c.io.expect("grad_out.y", c.io.at("in.x").shape);
}

// q, k or v: a projection, then a convolution.
struct Branch {
  const char* name;
  int64_t channels;
  Values projected, convolved, grad;  // grad: with respect to convolved
};

Values project(ModuleCase& c, const std::string& name, const Values& x, int64_t rows, int64_t in,
               int64_t out) {
  return linear(x, c.weights.at(name + "_proj.weight").values, {}, rows, in, out, c.parallel);
}

}  // namespace

Status run_gated_delta(ModuleCase& c) {
  FATHOM_ASSIGN(const DeltaSizes s, sizes_of(c));
  FATHOM_TRY(check_shapes(c, s));
  const RecordedTensor& x = c.io.at("in.x");
  const int64_t batch = x.extent(0), length = x.extent(1), rows = batch * length;
  const int64_t inner = s.shape.values(), heads = s.shape.heads;
  const int threads = c.parallel.num_threads();
  const auto weight = [&](const std::string& name) { return c.weights.at(name).values.data(); };
  Values rates;
  for (float a_log : c.weights.at("A_log").values) rates.push_back(-std::exp(a_log));
  std::vector<RowRange> ranges;
  std::vector<kernels::ConvSequence> conv_sequences;
  std::vector<kernels::DeltaSequence> sequences;
  for (int64_t b = 0; b < batch; ++b) {
    ranges.push_back({b * length, (b + 1) * length});
    conv_sequences.push_back({ranges.back(), nullptr});
    sequences.push_back({ranges.back(), nullptr});
  }

  Branch branches[] = {
      {"q", s.shape.keys(), {}, {}, {}}, {"k", s.shape.keys(), {}, {}, {}}, {"v", inner, {}, {}, {}}};
  for (Branch& branch : branches) {
    branch.projected = project(c, branch.name, x.values, rows, s.dim, branch.channels);
    branch.convolved = branch.grad = values(rows * branch.channels);
    kernels::causal_conv1d_fwd_cpu({.x = branch.projected.data(),
                                    .weight = weight(std::string(branch.name) + "_conv1d.weight"),
                                    .y = branch.convolved.data(),
                                    .sequences = conv_sequences.data(),
                                    .num_sequences = batch,
                                    .channels = branch.channels,
                                    .width = s.conv},
                                   c.parallel);
  }
  auto& [q, k, v] = branches;
  const Values gate = project(c, "g", x.values, rows, s.dim, inner),
               dt = project(c, "a", x.values, rows, s.dim, heads),
               beta = project(c, "b", x.values, rows, s.dim, heads);
  Values y = values(rows * inner), terms = values(rows * kernels::kDeltaTerms * heads),
         checkpoints = values(kernels::gated_delta_checkpoints(ranges.data(), batch, s.shape)),
         workspace = values(kernels::gated_delta_fwd_workspace(s.shape, threads));
  kernels::gated_delta_fwd_cpu({.q = q.convolved.data(),
                                .k = k.convolved.data(),
                                .v = v.convolved.data(),
                                .dt = dt.data(),
                                .b = beta.data(),
                                .dt_bias = weight("dt_bias"),
                                .a = rates.data(),
                                .y = y.data(),
                                .sequences = sequences.data(),
                                .num_sequences = batch,
                                .terms = terms.data(),
                                .checkpoints = checkpoints.data(),
                                .workspace = workspace.data(),
                                .shape = s.shape},
                               c.parallel);
  Values gated = values(rows * inner), rstd = values(rows);
  kernels::gated_memory_fwd_cpu({.memory = y.data(),
                                 .gate = gate.data(),
                                 .weight = weight("norm.weight"),
                                 .y = gated.data(),
                                 .rstd = rstd.data(),
                                 .rows = rows,
                                 .dim = inner,
                                 .eps = s.eps},
                                c.parallel);
  c.check("out.y", project(c, "o", gated, rows, inner, s.dim));
  c.check("out.memory", y);

  const Values& grad_out = c.io.at("grad_out.y").values;
  const Values grad_gated = linear_grad_x(grad_out, c.weights.at("o_proj.weight").values, rows, inner, s.dim);
  Values grad_y = values(rows * inner), grad_gate = values(rows * inner), grad_norm = values(inner),
         gate_workspace = values(kernels::gated_memory_bwd_workspace(rows, inner));
  kernels::gated_memory_bwd_cpu({.memory = y.data(),
                                 .gate = gate.data(),
                                 .weight = weight("norm.weight"),
                                 .rstd = rstd.data(),
                                 .grad_y = grad_gated.data(),
                                 .grad_memory = grad_y.data(),
                                 .grad_gate = grad_gate.data(),
                                 .grad_weight = grad_norm.data(),
                                 .workspace = gate_workspace.data(),
                                 .rows = rows,
                                 .dim = inner},
                                c.parallel);
  if (c.io.has("grad_out.memory")) {
    FATHOM_TRY(c.io.expect("grad_out.memory", {batch, length, inner}));
    add_into(grad_y, c.io.at("grad_out.memory").values);
  }
  Values grad_dt = values(rows * heads), grad_beta = values(rows * heads), grad_bias = values(heads),
         grad_a_log = values(heads);
  workspace = values(kernels::gated_delta_bwd_workspace(ranges.data(), batch, s.shape, threads));
  kernels::gated_delta_bwd_cpu({.q = q.convolved.data(),
                                .k = k.convolved.data(),
                                .v = v.convolved.data(),
                                .dt = dt.data(),
                                .b = beta.data(),
                                .dt_bias = weight("dt_bias"),
                                .a = rates.data(),
                                .grad_y = grad_y.data(),
                                .terms = terms.data(),
                                .checkpoints = checkpoints.data(),
                                .sequences = ranges.data(),
                                .num_sequences = batch,
                                .grad_q = q.grad.data(),
                                .grad_k = k.grad.data(),
                                .grad_v = v.grad.data(),
                                .grad_dt = grad_dt.data(),
                                .grad_b = grad_beta.data(),
                                .grad_dt_bias = grad_bias.data(),
                                .grad_a_log = grad_a_log.data(),
                                .workspace = workspace.data(),
                                .shape = s.shape},
                               c.parallel);
  Values grad_x = values(rows * s.dim);
  const auto through = [&](const std::string& name, const Values& grad, int64_t out) {
    add_into(grad_x, linear_grad_x(grad, c.weights.at(name + "_proj.weight").values, rows, s.dim, out));
    c.check_gradient("grad." + name + "_proj.weight", linear_grad_weight(grad, x.values, rows, s.dim, out));
  };
  for (Branch& branch : branches) {
    const std::string conv = std::string(branch.name) + "_conv1d.weight";
    Values grad_projected = values(rows * branch.channels), grad_weight = values(branch.channels * s.conv);
    kernels::causal_conv1d_bwd_cpu({.x = branch.projected.data(),
                                    .weight = weight(conv),
                                    .grad_y = branch.grad.data(),
                                    .sequences = ranges.data(),
                                    .num_sequences = batch,
                                    .grad_x = grad_projected.data(),
                                    .grad_weight = grad_weight.data(),
                                    .channels = branch.channels,
                                    .width = s.conv},
                                   c.parallel);
    c.check_gradient("grad." + conv, grad_weight);
    through(branch.name, grad_projected, branch.channels);
  }
  through("g", grad_gate, inner);
  through("a", grad_dt, heads);
  through("b", grad_beta, heads);
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.dt_bias", grad_bias);
  c.check_gradient("grad.A_log", grad_a_log);
  c.check_gradient("grad.norm.weight", grad_norm);
  c.check_gradient("grad.o_proj.weight", linear_grad_weight(grad_out, gated, rows, inner, s.dim));
  return {};
}

}  // namespace fathom::cli::verify
