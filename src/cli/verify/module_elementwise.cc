// Norms, MLP, gated memory unit, rotary embedding, head with cross entropy.
#include <cstring>

#include "cli/verify/module_case.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/head_cross_entropy/head_cross_entropy.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/swiglu/swiglu.h"

namespace fathom::cli::verify {

namespace {

Result<double> number(const ModuleCase& c, const char* key) {
  if (!c.config.contains(key) || !c.config[key].is_number()) {
    return invalid(c.path + "/config.json: " + key + " is missing or no number");
  }
  return c.config[key].get<double>();
}

}  // namespace

Status run_norm(ModuleCase& c, bool layer_norm) {
  FATHOM_TRY(c.known_keys({"size", "eps"}));
  FATHOM_ASSIGN(const int64_t dim, c.size("size"));
  FATHOM_ASSIGN(const double eps, number(c, "eps"));
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("in.x"));
  FATHOM_ASSIGN(const RecordedTensor* grad_y, c.io.require("grad_out.y"));
  FATHOM_ASSIGN(const RecordedTensor* weight, c.weights.require("weight"));
  const int64_t rows = x->elements() / dim;
  Values y = values(rows * dim), mean = values(rows), rstd = values(rows), grad_x = values(rows * dim),
         grad_weight = values(dim), grad_bias = values(dim);
  if (layer_norm) {
    FATHOM_ASSIGN(const RecordedTensor* bias, c.weights.require("bias"));
    kernels::layer_norm_fwd_cpu({x->values.data(), weight->values.data(), bias->values.data(), y.data(),
                                 mean.data(), rstd.data(), rows, dim, static_cast<float>(eps)},
                                c.parallel);
    Values workspace = values(kernels::layer_norm_bwd_workspace(rows, dim));
    kernels::layer_norm_bwd_cpu(
        {x->values.data(), weight->values.data(), mean.data(), rstd.data(), grad_y->values.data(),
         grad_x.data(), grad_weight.data(), grad_bias.data(), workspace.data(), rows, dim},
        c.parallel);
    c.check_gradient("grad.bias", grad_bias);
  } else {
    kernels::rms_norm_fwd_cpu(
        {x->values.data(), weight->values.data(), y.data(), rstd.data(), rows, dim, static_cast<float>(eps)},
        c.parallel);
    Values workspace = values(kernels::rms_norm_bwd_workspace(rows, dim));
    kernels::rms_norm_bwd_cpu({x->values.data(), weight->values.data(), rstd.data(), grad_y->values.data(),
                               grad_x.data(), grad_weight.data(), workspace.data(), rows, dim},
                              c.parallel);
  }
  c.check("out.y", y);
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.weight", grad_weight);
  return {};
}

Status run_mlp(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"n_embd", "intermediate_size"}));
  FATHOM_ASSIGN(const int64_t dim, c.size("n_embd"));
  FATHOM_ASSIGN(const int64_t inner, c.size("intermediate_size"));
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("in.x"));
  FATHOM_ASSIGN(const RecordedTensor* grad_y, c.io.require("grad_out.y"));
  FATHOM_ASSIGN(const RecordedTensor* w1, c.weights.require("w1.weight"));
  FATHOM_ASSIGN(const RecordedTensor* w3, c.weights.require("w3.weight"));
  const int64_t rows = x->elements() / dim;
  const std::span<const float> gate_weight = std::span(w1->values).first(static_cast<size_t>(inner * dim));
  const std::span<const float> up_weight = std::span(w1->values).last(static_cast<size_t>(inner * dim));
  const Values gate = linear(x->values, gate_weight, {}, rows, dim, inner, c.parallel);
  const Values up = linear(x->values, up_weight, {}, rows, dim, inner, c.parallel);
  Values product = values(rows * inner);
  kernels::swiglu_fwd_cpu({gate.data(), up.data(), product.data(), rows * inner}, c.parallel);
  c.check("out.y", linear(product, w3->values, {}, rows, inner, dim, c.parallel));

  const Values grad_product = linear_grad_x(grad_y->values, w3->values, rows, inner, dim);
  Values grad_gate = values(rows * inner), grad_up = values(rows * inner);
  kernels::swiglu_bwd_cpu(
      {gate.data(), up.data(), grad_product.data(), grad_gate.data(), grad_up.data(), rows * inner},
      c.parallel);
  Values grad_w1 = linear_grad_weight(grad_gate, x->values, rows, dim, inner);
  const Values grad_up_weight = linear_grad_weight(grad_up, x->values, rows, dim, inner);
  grad_w1.insert(grad_w1.end(), grad_up_weight.begin(), grad_up_weight.end());
  Values grad_x = linear_grad_x(grad_gate, gate_weight, rows, dim, inner);
  const Values through_up = linear_grad_x(grad_up, up_weight, rows, dim, inner);
  for (size_t i = 0; i < grad_x.size(); ++i) grad_x[i] += through_up[i];
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.w1.weight", grad_w1);
  c.check_gradient("grad.w3.weight", linear_grad_weight(grad_y->values, product, rows, inner, dim));
  return {};
}

Status run_gated_memory(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"d_model", "d_mem", "use_norm", "ngroups", "eps"}));
  FATHOM_ASSIGN(const int64_t dim, c.size("d_model"));
  FATHOM_ASSIGN(const int64_t inner, c.size("d_mem"));
  const bool normalised = c.config.value("use_norm", false);
  if (normalised && c.config.value("ngroups", 1) != 1)
    return not_supported("not supported yet: norm groups in a GMU");
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("in.x"));
  FATHOM_ASSIGN(const RecordedTensor* memory, c.io.require("in.memory"));
  FATHOM_ASSIGN(const RecordedTensor* grad_y, c.io.require("grad_out.y"));
  FATHOM_ASSIGN(const RecordedTensor* in_proj, c.weights.require("in_proj.weight"));
  FATHOM_ASSIGN(const RecordedTensor* out_proj, c.weights.require("out_proj.weight"));
  const float* weight = nullptr;
  if (normalised) {
    FATHOM_ASSIGN(const RecordedTensor* norm, c.weights.require("norm.weight"));
    weight = norm->values.data();
  }
  const int64_t rows = x->elements() / dim;
  const Values gate = linear(x->values, in_proj->values, {}, rows, dim, inner, c.parallel);
  Values gated = values(rows * inner), rstd = values(rows);
  kernels::gated_memory_fwd_cpu({.memory = memory->values.data(),
                                 .gate = gate.data(),
                                 .weight = weight,
                                 .y = gated.data(),
                                 .rstd = normalised ? rstd.data() : nullptr,
                                 .rows = rows,
                                 .dim = inner,
                                 .eps = static_cast<float>(c.config.value("eps", 1e-5))},
                                c.parallel);
  c.check("out.y", linear(gated, out_proj->values, {}, rows, inner, dim, c.parallel));

  const Values grad_gated = linear_grad_x(grad_y->values, out_proj->values, rows, inner, dim);
  Values grad_memory = values(rows * inner), grad_gate = values(rows * inner), grad_weight = values(inner),
         workspace = values(kernels::gated_memory_bwd_workspace(rows, inner));
  kernels::gated_memory_bwd_cpu({.memory = memory->values.data(),
                                 .gate = gate.data(),
                                 .weight = weight,
                                 .rstd = rstd.data(),
                                 .grad_y = grad_gated.data(),
                                 .grad_memory = grad_memory.data(),
                                 .grad_gate = grad_gate.data(),
                                 .grad_weight = normalised ? grad_weight.data() : nullptr,
                                 .workspace = workspace.data(),
                                 .rows = rows,
                                 .dim = inner},
                                c.parallel);
  c.check_gradient("grad_in.memory", grad_memory);
  c.check_gradient("grad_in.x", linear_grad_x(grad_gate, in_proj->values, rows, dim, inner));
  c.check_gradient("grad.in_proj.weight", linear_grad_weight(grad_gate, x->values, rows, dim, inner));
  c.check_gradient("grad.out_proj.weight", linear_grad_weight(grad_y->values, gated, rows, inner, dim));
  if (normalised) c.check_gradient("grad.norm.weight", grad_weight);
  return {};
}

Status run_rope(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"head_dim", "bases", "positions"}));
  FATHOM_ASSIGN(const int64_t head_dim, c.size("head_dim"));
  FATHOM_ASSIGN(const int64_t positions, c.size("positions"));
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("x"));
  const int64_t batch = x->extent(0), length = x->extent(1), heads = x->extent(2);
  std::vector<int32_t> row_positions;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < length; ++t) row_positions.push_back(static_cast<int32_t>(t));
  }
  if (!c.config.contains("bases")) return invalid(c.path + "/config.json: key bases is missing");
  for (const nlohmann::json& base : c.config["bases"]) {
    const std::string name = "base" + base.dump();
    for (const bool rounded : {false, true}) {
      Values cos = values(positions * head_dim / 2), sin = values(positions * head_dim / 2);
      kernels::rope_table(cos.data(), sin.data(), positions, head_dim, base.get<double>(), rounded);
      c.check(name + (rounded ? ".cos_bf16" : ".cos"), cos);
      c.check(name + (rounded ? ".sin_bf16" : ".sin"), sin);
      if (!rounded) continue;
      Values y = x->values;
      kernels::RopeFwd rope{.x = y.data(),
                            .positions = row_positions.data(),
                            .cos = cos.data(),
                            .sin = sin.data(),
                            .table_positions = positions,
                            .rows = batch * length,
                            .heads = heads,
                            .head_dim = head_dim,
                            .x_stride = heads * head_dim};
      kernels::rope_fwd_cpu(rope, c.parallel);
      c.check(name + ".y", y);
    }
  }
  return {};
}

Status run_cross_entropy(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"N", "vocab", "width", "ignore_index", "label_smoothing"}));
  FATHOM_ASSIGN(const int64_t rows, c.size("N"));
  FATHOM_ASSIGN(const int64_t vocab, c.size("vocab"));
  FATHOM_ASSIGN(const int64_t dim, c.size("width"));
  const int64_t ignored = c.config.value("ignore_index", int64_t{kernels::kIgnoredLabel});
  if (ignored >= 0) return not_supported("not supported yet: an ignored label that is a token");
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("in.x"));
  FATHOM_ASSIGN(const RecordedTensor* weight, c.io.require("in.weight"));
  FATHOM_ASSIGN(const RecordedTensor* target, c.io.require("in.target"));
  std::vector<int32_t> labels(target->ids.begin(), target->ids.end());
  for (int32_t& label : labels) {
    if (label == ignored) label = kernels::kIgnoredLabel;
  }
  int64_t counted = 0;
  for (int32_t label : labels) counted += label != kernels::kIgnoredLabel ? 1 : 0;
  if (!c.config.contains("label_smoothing"))
    return invalid(c.path + "/config.json: key label_smoothing is missing");
  for (const nlohmann::json& smoothing : c.config["label_smoothing"]) {
    const std::string name = "ls" + smoothing.dump();
    // Chunks that do not divide the rows, so that the seams are looked at too.
    const int64_t chunk = 8;
    Values grad_x = values(rows * dim), grad_weight = values(vocab * dim), workspace = values(chunk * vocab);
    double loss = 0;
    kernels::PlainHeadProducts products(weight->values.data(), grad_weight.data(), dim, vocab);
    kernels::head_cross_entropy_cpu({.hidden = x->values.data(),
                                     .labels = labels.data(),
                                     .loss = &loss,
                                     .grad_hidden = grad_x.data(),
                                     .workspace = workspace.data(),
                                     .rows = rows,
                                     .dim = dim,
                                     .vocab = vocab,
                                     .chunk_rows = chunk,
                                     .loss_scale = 1.0F / static_cast<float>(counted),
                                     .label_smoothing = smoothing.get<float>()},
                                    products, c.parallel);
    const Values single = {static_cast<float>(loss)};
    c.check(name + ".loss", single);
    c.check_gradient(name + ".grad.x", grad_x);
    c.check_gradient(name + ".grad.weight", grad_weight);
  }
  return {};
}

}  // namespace fathom::cli::verify
