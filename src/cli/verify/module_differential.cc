// Differential attention without its projections.
#include <cmath>

#include "cli/verify/attention_core.h"
#include "cli/verify/module_case.h"
#include "kernels/differential_norm/differential_norm.h"

namespace fathom::cli::verify {

Status run_differential_attention(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"head_dim", "n_head", "n_kv_head", "layer_index", "lambda_init", "window",
                           "softmax_scale", "subln_eps"}));
  FATHOM_ASSIGN(const int64_t heads, c.size("n_head"));
  FATHOM_ASSIGN(const int64_t kv_heads, c.size("n_kv_head"));
  FATHOM_ASSIGN(const int64_t head_dim, c.size("head_dim"));
  if (kv_heads % 2 != 0 || heads % kv_heads != 0)
    return invalid(c.path + "/config.json: n_head and n_kv_head do not make pairs");
  const int64_t pairs = heads / 2, dim = 2 * head_dim;
  FATHOM_TRY(c.io.expect("in.q", {-1, -1, heads, head_dim}));
  const RecordedTensor& q = c.io.at("in.q");
  const int64_t rows = q.extent(0) * q.extent(1);
  FATHOM_TRY(c.io.expect("in.k", {q.extent(0), -1, kv_heads, head_dim}));
  const RecordedTensor& k = c.io.at("in.k");
  FATHOM_TRY(c.io.expect("in.v", k.shape));
  FATHOM_TRY(c.io.expect("grad_out.attn", q.shape));
  if (q.extent(1) > k.extent(1)) return invalid(c.path + "/io.safetensors: more queries than keys");
  const char* const names[4] = {"lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"};
  const float* vector[4];
  for (int i = 0; i < 4; ++i) {
    FATHOM_TRY(c.weights.expect(names[i], {head_dim}));
    vector[i] = c.weights.at(names[i]).values.data();
  }
  FATHOM_TRY(c.weights.expect("subln.weight", {dim}));
  const float* const sub_norm = c.weights.at("subln.weight").values.data();

  // By depth (4.3), where it is not said.
  const double by_depth = 0.8 - 0.6 * std::exp(-0.3 * c.config.value("layer_index", 0.0));
  if (!c.config.contains("lambda_init") && !c.config.contains("layer_index"))
    return invalid(c.path + "/config.json: neither lambda_init nor layer_index is there");
  const double lambda_init = c.config.value("lambda_init", by_depth);
  if (c.config.contains("layer_index") && std::abs(lambda_init - by_depth) > 1e-6) {
    return invalid(c.path + "/config.json: lambda_init is " + std::to_string(lambda_init) +
                   ", expected that of its layer_index, " + std::to_string(by_depth));
  }
  const auto scale = static_cast<float>(1 - lambda_init);
  const kernels::LambdaVectors vectors = {vector[0], vector[1], vector[2], vector[3], head_dim};
  const float lambda = kernels::differential_lambda_fwd(vectors, lambda_init);
  c.check("out.nograd.lambda", {&lambda, 1});
  const nlohmann::json window = c.config.value("window", nlohmann::json());
  const bool none = window.is_null() || window == -1;
  if (!none && !(window.is_number_integer() && window.get<int64_t>() > 0))
    return invalid(c.path + "/config.json: window is " + window.dump() + ", expected at least 1, -1 or null");
  AttentionCore maps({.batch = q.extent(0),
                      .queries = q.extent(1),
                      .keys = k.extent(1),
                      .window = none ? 0 : window.get<int64_t>(),
                      .heads = heads,
                      .kv_heads = kv_heads,
                      .head_dim = head_dim,
                      .stripes = 2,
                      .scale = c.config.value("softmax_scale", 1 / std::sqrt(static_cast<float>(head_dim)))},
                     q.values, k.values, c.io.at("in.v").values, c.parallel);
  std::vector<float> y(q.values.size()), rstd(static_cast<size_t>(rows * pairs));
  kernels::differential_norm_fwd_cpu({.x = maps.out().data(),
                                      .weight = sub_norm,
                                      .y = y.data(),
                                      .rstd = rstd.data(),
                                      .rows = rows,
                                      .pairs = pairs,
                                      .dim = dim,
                                      .lambda = lambda,
                                      .scale = scale,
                                      .eps = c.config.value("subln_eps", 1e-5F)},
                                     c.parallel);
  c.check("out.attn", y);

  std::vector<float> grad_maps(maps.out().size()), grad_norm(static_cast<size_t>(dim)),
      workspace(static_cast<size_t>(kernels::differential_norm_bwd_workspace(rows, dim)));
  float grad_lambda = 0;
  kernels::differential_norm_bwd_cpu({.x = maps.out().data(),
                                      .weight = sub_norm,
                                      .rstd = rstd.data(),
                                      .grad_y = c.io.at("grad_out.attn").values.data(),
                                      .grad_x = grad_maps.data(),
                                      .grad_weight = grad_norm.data(),
                                      .grad_lambda = &grad_lambda,
                                      .workspace = workspace.data(),
                                      .rows = rows,
                                      .pairs = pairs,
                                      .dim = dim,
                                      .lambda = lambda,
                                      .scale = scale},
                                     c.parallel);
  const AttentionCore::Gradients grad = maps.backward(grad_maps);
  c.check_gradient("grad_in.q", grad.q);
  c.check_gradient("grad_in.k", grad.k);
  c.check_gradient("grad_in.v", grad.v);
  c.check_gradient("grad.subln.weight", grad_norm);
  std::vector<float> of[4];
  for (std::vector<float>& values : of) values.resize(static_cast<size_t>(head_dim));
  kernels::differential_lambda_bwd(vectors, grad_lambda,
                                   {of[0].data(), of[1].data(), of[2].data(), of[3].data()});
  for (int i = 0; i < 4; ++i) c.check_gradient(std::string("grad.") + names[i], of[i]);
  return {};
}

}  // namespace fathom::cli::verify
