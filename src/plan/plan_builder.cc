#include "plan/plan_builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace fathom {

namespace {

Init constant(double value) { return {.kind = InitKind::kConstant, .a = value}; }

// The rank that the change of a projection is to have.
int64_t rank_of(const RelaxationSpec& spec, Projection projection) {
  switch (projection) {
    case Projection::kQ:
    case Projection::kK:
    case Projection::kV:
      return spec.attention_rank > 0 ? spec.attention_rank : spec.rank;
    case Projection::kGate:
    case Projection::kUp:
    case Projection::kDown:
      return spec.mlp_rank > 0 ? spec.mlp_rank : spec.rank;
    case Projection::kO:
      break;
  }
  return spec.rank;
}

}  // namespace

Init InitRule::matrix(int64_t fan_in) const {
  if (!uniform) return {.kind = InitKind::kNormal, .a = deviation};
  return {.kind = InitKind::kUniform, .a = 1 / std::sqrt(static_cast<double>(fan_in))};
}

Init InitRule::residual(int64_t fan_in) const {
  Init init = matrix(fan_in);
  init.a /= residual_divisor;
  return init;
}

InitRule InitRule::averaged(int64_t count) const {
  FATHOM_CHECK(!uniform || count == 1, "the mean of uniform numbers is not uniform");
  InitRule rule = *this;
  rule.deviation /= std::sqrt(static_cast<double>(count));
  return rule;
}

PlanBuilder::PlanBuilder(const ModelSpec& spec, const InitRule& init) : init_(init) {
  plan_.spec = spec;
  plan_.dims = {spec.vocab_size, spec.hidden_size, spec.max_position_embeddings};
}

ParamRef PlanBuilder::add(std::string name, std::vector<int64_t> shape, ParamRole role, const Init& init) {
  const auto index = static_cast<int32_t>(plan_.params.size());
  plan_.params.push_back({std::move(name), std::move(shape), role, init});
  return {index, 0};
}

ParamRef PlanBuilder::add_per_depth(const std::string& prefix, int32_t repeat, bool per_depth,
                                    const std::string& name, const std::vector<int64_t>& shape,
                                    ParamRole role, const Init& init) {
  if (!per_depth) return add(prefix + "." + name, shape, role, init);
  ParamRef ref{static_cast<int32_t>(plan_.params.size()), 1};
  for (int32_t depth = 0; depth < repeat; ++depth)
    add(prefix + ".depth" + std::to_string(depth) + "." + name, shape, role, init);
  return ref;
}

ParamRef PlanBuilder::add(const LayerPlace& place, bool per_depth, const std::string& name,
                          const std::vector<int64_t>& shape, ParamRole role, const Init& init) {
  return add_per_depth("layers." + std::to_string(place.index), place.repeat, per_depth && place.repeat > 1,
                       name, shape, role, init);
}

Norm PlanBuilder::norm(const LayerPlace& place, const std::string& name, NormKind kind) {
  const std::vector<int64_t> shape = {spec().hidden_size};
  Norm norm;
  norm.kind = kind;
  norm.eps = spec().norm_eps;
  norm.weight = add(place, place.own_norms, name + ".weight", shape, ParamRole::kNorm, constant(1));
  if (kind == NormKind::kLayerNorm)
    norm.bias = add(place, place.own_norms, name + ".bias", shape, ParamRole::kNorm, constant(0));
  return norm;
}

Norm PlanBuilder::final_norm(NormKind kind) {
  const std::vector<int64_t> shape = {spec().hidden_size};
  Norm norm;
  norm.kind = kind;
  norm.eps = spec().norm_eps;
  norm.weight = add("final_norm.weight", shape, ParamRole::kNorm, constant(1));
  if (kind == NormKind::kLayerNorm) norm.bias = add("final_norm.bias", shape, ParamRole::kNorm, constant(0));
  return norm;
}

Attention PlanBuilder::attention(const LayerPlace& place, bool cross, bool biases) {
  const ModelSpec& s = spec();
  const int64_t hidden = s.hidden_size;
  const int64_t q_dim = s.num_attention_heads * s.head_dim;
  const int64_t kv_dim = s.num_key_value_heads * s.head_dim;
  Attention attention;
  attention.num_heads = s.num_attention_heads;
  attention.num_kv_heads = s.num_key_value_heads;
  attention.head_dim = s.head_dim;
  attention.cross = cross;
  const auto head_dim = static_cast<double>(s.head_dim);
  if (s.attention_scale > 0) {
    attention.scale = s.attention_scale;
  } else if (s.parametrisation == Parametrisation::kStandard) {
    attention.scale = 1 / std::sqrt(head_dim);
  } else {
    constexpr double kBaseHeadDim = 128;  // equal to 1 / sqrt(c) at c = 128
    attention.scale = std::sqrt(kBaseHeadDim) / head_dim;
  }
  const bool own = place.own_attention;
  const InitRule init = init_.averaged(place.mean_of);
  // Attention that each recursion has for itself was made anew by the published code, with its library's
  // default for linear layers (Mixture-of-Recursions 9.1).
  const bool anew = own && place.repeat > 1 && !s.share_attention;
  const auto init_of = [&](const Init& given, int64_t fan_in) {
    return anew ? Init{.kind = InitKind::kUniform, .a = 1 / std::sqrt(static_cast<double>(fan_in))} : given;
  };
  const auto matrix = [&](const char* name, int64_t out) {
    return add(place, own, name, {out, hidden}, ParamRole::kMatrix, init_of(init.matrix(hidden), hidden));
  };
  const auto bias = [&](const char* name, int64_t out) {
    return biases ? add(place, own, name, {out}, ParamRole::kBias, constant(0)) : ParamRef{};
  };
  attention.q = matrix("attention.q", q_dim);
  if (!cross) {
    attention.k = matrix("attention.k", kv_dim);
    attention.v = matrix("attention.v", kv_dim);
  }
  attention.q_bias = bias("attention.q_bias", q_dim);
  if (!cross) {
    attention.k_bias = bias("attention.k_bias", kv_dim);
    attention.v_bias = bias("attention.v_bias", kv_dim);
  }
  attention.o = add(place, own, "attention.o", {hidden, q_dim}, ParamRole::kMatrix,
                    init_of(init.residual(q_dim), q_dim));
  attention.o_bias = bias("attention.o_bias", hidden);
  return attention;
}

Adapter PlanBuilder::adapter(const LayerPlace& place, const std::string& name, const ParamRef& matrix,
                             int64_t rank) {
  const RelaxationSpec& spec = *plan_.spec.relaxation;
  const std::vector<int64_t> shape = plan_.params[static_cast<size_t>(matrix.first)].shape;
  const int64_t out = shape[0], in = shape[1];
  Adapter adapter;
  adapter.rank = std::min({rank, in, out});
  adapter.scaling = spec.alpha / static_cast<double>(spec.own_rank_scaling ? adapter.rank : spec.rank);
  adapter.dropout = spec.dropout;
  // The published default of A (Kaiming's uniform rule with a = sqrt(5)); B starts from zero, and so W alone
  // is what the model starts from.
  const Init uniform{.kind = InitKind::kUniform, .a = 1 / std::sqrt(static_cast<double>(in))};
  adapter.a = add(place, true, name + ".a", {adapter.rank, in}, ParamRole::kAdapterMatrix, uniform);
  adapter.b = add(place, true, name + ".b", {out, adapter.rank}, ParamRole::kAdapterMatrix, constant(0));
  if (spec.method == RelaxationMethod::kDora) {
    adapter.magnitude = add(place, true, name + ".magnitude", {out}, ParamRole::kRelaxation,
                            {.kind = InitKind::kRowNorms, .a = 1});
  }
  return adapter;
}

void PlanBuilder::relax(const LayerPlace& place, Layer& layer) {
  const RelaxationSpec& spec = *plan_.spec.relaxation;
  auto& attention = std::get<Attention>(layer.mixer);
  if (spec.method == RelaxationMethod::kAdaptionPrompt) {
    const Init normal{.kind = InitKind::kNormal, .a = 1};
    AdaptionPrompt prompt;
    prompt.length = spec.prompt_length;
    prompt.tokens = add(place, true, "attention.prompt", {1, prompt.length, plan_.dims.hidden_size},
                        ParamRole::kRelaxation, normal);
    prompt.gate = add(place, true, "attention.prompt_gate", {1}, ParamRole::kRelaxation, constant(0));
    attention.prompt = prompt;
    return;
  }
  if (spec.method == RelaxationMethod::kRecursionEncoding) {
    layer.encoding =
        add(place, true, "encoding", {plan_.dims.hidden_size}, ParamRole::kRelaxation, constant(1));
    return;
  }
  const auto adapt = [&](Projection target, const char* name, const ParamRef& matrix, Adapter& to) {
    if (std::ranges::find(spec.targets, target) == spec.targets.end()) return;
    to = adapter(place, name, matrix, rank_of(spec, target));
  };
  adapt(Projection::kQ, "attention.q", attention.q, attention.q_adapter);
  adapt(Projection::kK, "attention.k", attention.k, attention.k_adapter);
  adapt(Projection::kV, "attention.v", attention.v, attention.v_adapter);
  adapt(Projection::kO, "attention.o", attention.o, attention.o_adapter);
  adapt(Projection::kGate, "mlp.gate", layer.mlp.gate, layer.mlp.gate_adapter);
  adapt(Projection::kUp, "mlp.up", layer.mlp.up, layer.mlp.up_adapter);
  adapt(Projection::kDown, "mlp.down", layer.mlp.down, layer.mlp.down_adapter);
}

void PlanBuilder::make_differential(const LayerPlace& place, Attention& attention) {
  const int64_t head_dim = attention.head_dim;
  const Init small{.kind = InitKind::kNormal, .a = 0.1};
  const auto lambda = [&](const char* name) {
    return add(place, false, name, {head_dim}, ParamRole::kLambda, small);
  };
  Differential differential;
  differential.lambda_init = 0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(place.index));
  differential.lambda_q1 = lambda("attention.lambda_q1");
  differential.lambda_k1 = lambda("attention.lambda_k1");
  differential.lambda_q2 = lambda("attention.lambda_q2");
  differential.lambda_k2 = lambda("attention.lambda_k2");
  differential.sub_norm =
      add(place, false, "attention.sub_norm", {2 * head_dim}, ParamRole::kNorm, constant(1));
  attention.differential = differential;
}

Mlp PlanBuilder::mlp(const LayerPlace& place) {
  const int64_t hidden = spec().hidden_size;
  const InitRule init = init_.averaged(place.mean_of);
  Mlp mlp;
  mlp.inner = spec().intermediate_size;
  const bool own = place.own_mlp;
  mlp.gate = add(place, own, "mlp.gate", {mlp.inner, hidden}, ParamRole::kMatrix, init.matrix(hidden));
  mlp.up = add(place, own, "mlp.up", {mlp.inner, hidden}, ParamRole::kMatrix, init.matrix(hidden));
  mlp.down = add(place, own, "mlp.down", {hidden, mlp.inner}, ParamRole::kMatrix, init.residual(mlp.inner));
  return mlp;
}

Router PlanBuilder::router(int32_t repeat) {
  Router router;
  router.spec = *spec().router;
  if (router.spec.random) return router;  // nothing to learn
  const int64_t hidden = spec().hidden_size;
  const bool expert = router.spec.kind == RouterKind::kExpertChoice;
  const bool linear = router.spec.network == RouterNetwork::kLinear;
  const Init init{.kind = InitKind::kNormal, .a = spec().initializer_range};
  const int64_t in = linear ? hidden : router.spec.mlp_ratio * hidden;
  const std::vector<int64_t> shape = {expert ? 1 : repeat, in};
  const auto make = [&](const char* prefix, ParamRole role, ParamRef& weight, ParamRef& first) {
    if (!linear) first = add_per_depth(prefix, repeat, expert, "hidden", {in, hidden}, role, init);
    weight = add_per_depth(prefix, repeat, expert, "weight", shape, role, init);
  };
  make("router", ParamRole::kRouter, router.weight, router.hidden);
  if (router.spec.loss == RouterLoss::kAuxRouter)
    make("aux_router", ParamRole::kAuxRouter, router.aux_weight, router.aux_hidden);
  if (router.spec.loss == RouterLoss::kLossFree)
    router.bias = add("router.bias", {repeat}, ParamRole::kRouterBias, constant(0));
  return router;
}

void PlanBuilder::route(Segment& segment) {
  segment.combine = spec().router->gating == Gating::kWeighted ? Combine::kWeighted : Combine::kAdditive;
  segment.router = router(segment.repeat);
}

void PlanBuilder::embedding_and_head(const Init& embedding, const Init& head) {
  const std::vector<int64_t> shape = {spec().vocab_size, spec().hidden_size};
  plan_.embedding = add("embedding", shape, ParamRole::kEmbedding, embedding);
  plan_.head = plan_.embedding;
  if (!spec().tie_word_embeddings) plan_.head = add("head", shape, ParamRole::kHead, head);
}

SlotId PlanBuilder::add_slot(Slot slot) {
  plan_.slots.push_back(std::move(slot));
  return static_cast<SlotId>(plan_.slots.size() - 1);
}

SlotId PlanBuilder::kv_slot(const LayerPlace& place, int64_t window, int32_t copies) {
  return add_slot({.name = "kv." + std::to_string(place.index),
                   .kind = window > 0 ? SlotKind::kWindowKv : SlotKind::kKv,
                   .copies = copies,
                   .num_kv_heads = spec().num_key_value_heads,
                   .head_dim = spec().head_dim,
                   .window = window});
}

SlotId PlanBuilder::memory_slot(const LayerPlace& place, int64_t inner) {
  return add_slot(
      {.name = "mem." + std::to_string(place.index), .kind = SlotKind::kGmuMemory, .inner = inner});
}

}  // namespace fathom
