#include "plan/count.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace fathom {

namespace {

int64_t elements_of(const ModelPlan& plan, const ParamRef& ref) {
  return ref.present() ? elements_of(plan.params[static_cast<size_t>(ref.first)]) : 0;
}

int64_t norm_elements(const ModelPlan& plan, const Norm& norm) {
  return elements_of(plan, norm.weight) + elements_of(plan, norm.bias);
}

// Share of all tokens that the router keeps at a depth of a segment.
double kept_share(const Segment& segment, int32_t depth) {
  return segment.router ? segment.router->spec.capacity[static_cast<size_t>(depth)] : 1.0;
}

double matrix_flops(const ModelPlan& plan, const ParamRef& ref) {
  return 2.0 * static_cast<double>(elements_of(plan, ref));
}

int64_t adapter_elements(const ModelPlan& plan, const Adapter& adapter) {
  return elements_of(plan, adapter.a) + elements_of(plan, adapter.b) + elements_of(plan, adapter.magnitude);
}

// What a layer's relaxation adds to it at one depth.
int64_t relaxation_elements(const ModelPlan& plan, const Layer& layer) {
  int64_t total = elements_of(plan, layer.encoding);
  for (const AdaptedMatrix& matrix : adapted_matrices(layer))
    total += adapter_elements(plan, *matrix.adapter);
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  if (attention != nullptr && attention->prompt) {
    total += elements_of(plan, attention->prompt->tokens) + elements_of(plan, attention->prompt->gate);
  }
  return total;
}

// Per active token of a sequence whose active part is `length` long; keys are shared by all tokens of
// `context`.
void add_mixer(const ModelPlan& plan, const Attention& a, double weight, double length, FlopCount& total) {
  double linear = 0;
  for (const ParamRef& ref : {a.q, a.k, a.v, a.o}) linear += matrix_flops(plan, ref);
  const auto width = static_cast<double>(a.num_heads * a.head_dim);
  // Differential attention weighs values of twice the width with each of its maps.
  const double passes = a.differential ? 3.0 : 2.0;
  total.linear += weight * linear;
  const double keys = mean_keys(length, a.window) + (a.prompt ? static_cast<double>(a.prompt->length) : 0.0);
  total.attention += weight * 2 * passes * width * keys;
}

void add_mixer(const ModelPlan& plan, const Mamba& m, double weight, double /*length*/, FlopCount& total) {
  double linear = 0;
  for (const ParamRef& ref : {m.in_x, m.in_z, m.x_proj, m.dt_proj, m.out_proj})
    linear += matrix_flops(plan, ref);
  const auto inner = static_cast<double>(m.inner);
  // Of each state: decay times state, plus dt B x (two products), read-out; then the skip.
  const double scan = inner * (7 * static_cast<double>(m.state) + 2);
  const double conv = 2 * inner * static_cast<double>(m.conv);
  total.linear += weight * linear;
  total.scan += weight * (scan + conv);
}

void add_mixer(const ModelPlan& plan, const Mamba2& m, double weight, double /*length*/, FlopCount& total) {
  double linear = 0;
  for (const ParamRef& ref : {m.in_z, m.in_xbc, m.in_dt, m.out_proj}) linear += matrix_flops(plan, ref);
  const auto inner = static_cast<double>(m.inner());
  // Of each state: decay times state, plus dt x B, read-out; then dt x, and the skip.
  const double scan = inner * (5 * static_cast<double>(m.state) + 3);
  const double conv = 2 * static_cast<double>(m.channels() * m.conv);
  total.linear += weight * linear;
  total.scan += weight * (scan + conv);
}

void add_mixer(const ModelPlan& plan, const GatedDelta& d, double weight, double /*length*/,
               FlopCount& total) {
  double linear = 0;
  for (const ParamRef& ref : {d.q, d.k, d.v, d.g, d.a, d.b, d.o}) linear += matrix_flops(plan, ref);
  // Of each element of the state: what the key recalls, decay, change, read-out; then the norms of q and k.
  const double scan = static_cast<double>(7 * d.keys() * d.value_dim + 4 * d.keys());
  const double conv = 2 * static_cast<double>((2 * d.keys() + d.values()) * d.conv);
  total.linear += weight * linear;
  total.scan += weight * (scan + conv);
}

void add_mixer(const ModelPlan& plan, const GatedMemory& gmu, double weight, double /*length*/,
               FlopCount& total) {
  total.linear += weight * (matrix_flops(plan, gmu.in_proj) + matrix_flops(plan, gmu.out_proj));
}

double mlp_flops(const ModelPlan& plan, const Mlp& mlp) {
  return matrix_flops(plan, mlp.gate) + matrix_flops(plan, mlp.up) + matrix_flops(plan, mlp.down);
}

// `share` is the sum of the shares of tokens that the slot's copies keep.
StateBytes count_slot(const Slot& slot, double share, DType kv_type) {
  StateBytes bytes;
  switch (slot.kind) {
    case SlotKind::kKv:
    case SlotKind::kWindowKv: {
      const int64_t entry = 2 * slot.num_kv_heads * slot.head_dim * size_of(kv_type);
      if (slot.kind == SlotKind::kKv) {
        bytes.per_token = std::llround(static_cast<double>(entry) * share);
        bytes.per_token_most = entry * slot.copies;
      } else {
        bytes.per_sequence = entry * slot.window * slot.copies;
      }
      break;
    }
    case SlotKind::kSsmState:
      bytes.per_sequence =
          (slot.inner * slot.state + slot.channels * (slot.conv - 1)) * size_of(DType::kF32) * slot.copies;
      break;
    case SlotKind::kGmuMemory:
      break;
  }
  return bytes;
}

}  // namespace

double mean_keys(double length, int64_t window) {
  const double all = (length + 1) / 2;
  if (window == 0 || static_cast<double>(window) >= length) return all;
  const auto w = static_cast<double>(window);
  return w - w * (w - 1) / (2 * length);
}

int64_t count_layer_parameters(const ModelPlan& plan, const Layer& layer) {
  int64_t total = norm_elements(plan, layer.norm1) + norm_elements(plan, layer.norm2);
  total += relaxation_elements(plan, layer);
  for (const ParamRef& ref : {layer.mlp.gate, layer.mlp.up, layer.mlp.down}) total += elements_of(plan, ref);
  if (const auto* a = std::get_if<Attention>(&layer.mixer)) {
    for (const ParamRef& ref : {a->q, a->k, a->v, a->o, a->q_bias, a->k_bias, a->v_bias, a->o_bias})
      total += elements_of(plan, ref);
    if (const auto& d = a->differential) {
      for (const ParamRef& ref : {d->lambda_q1, d->lambda_k1, d->lambda_q2, d->lambda_k2, d->sub_norm})
        total += elements_of(plan, ref);
    }
  } else if (const auto* m = std::get_if<Mamba>(&layer.mixer)) {
    for (const ParamRef& ref : {m->in_x, m->in_z, m->conv_weight, m->conv_bias, m->x_proj, m->dt_proj,
                                m->dt_bias, m->a_log, m->d, m->out_proj})
      total += elements_of(plan, ref);
  } else if (const auto* m2 = std::get_if<Mamba2>(&layer.mixer)) {
    for (const ParamRef& ref : {m2->in_z, m2->in_xbc, m2->in_dt, m2->conv_weight, m2->conv_bias, m2->dt_bias,
                                m2->a_log, m2->d, m2->norm, m2->out_proj})
      total += elements_of(plan, ref);
  } else if (const auto* delta = std::get_if<GatedDelta>(&layer.mixer)) {
    for (const ParamRef& ref :
         {delta->q, delta->k, delta->v, delta->g, delta->a, delta->b, delta->q_conv, delta->k_conv,
          delta->v_conv, delta->dt_bias, delta->a_log, delta->norm, delta->o})
      total += elements_of(plan, ref);
  } else {
    const auto& gmu = std::get<GatedMemory>(layer.mixer);
    for (const ParamRef& ref : {gmu.in_proj, gmu.norm, gmu.out_proj}) total += elements_of(plan, ref);
  }
  return total;
}

ParameterCount count_parameters(const ModelPlan& plan) {
  ParameterCount count;
  for (const Param& param : plan.params) {
    count.unique += elements_of(param);
    if (is_router(param.role)) count.router += elements_of(param);
  }
  count.embedding = elements_of(plan, plan.embedding);
  if (plan.head.first != plan.embedding.first) count.head = elements_of(plan, plan.head);
  count.final_norm = norm_elements(plan, plan.final_norm);
  count.total = count.embedding + count.head + count.final_norm + count.router;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    count.relaxation += relaxation_elements(plan, layer);
    count.total += count_layer_parameters(plan, layer);
  });
  return count;
}

FlopCount count_layer_flops(const ModelPlan& plan, const Segment& segment, const Layer& layer, int32_t depth,
                            int64_t context) {
  FlopCount count;
  const double share = running_share(segment, depth);
  // An own list of keys holds the tokens that came this far, every other one all tokens.
  const bool own =
      key_source(segment, layer, depth) == KeySource::kOwn && segment.kv == KvMode::kRecursionWise;
  const double length = static_cast<double>(context) * (own ? share : 1.0);
  std::visit([&](const auto& mixer) { add_mixer(plan, mixer, share, length, count); }, layer.mixer);
  if (key_source(segment, layer, depth) == KeySource::kFirstDepth) {
    const auto& attention = std::get<Attention>(layer.mixer);
    count.linear -= share * (matrix_flops(plan, attention.k) + matrix_flops(plan, attention.v));
  }
  count.linear += share * mlp_flops(plan, layer.mlp);
  for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
    if (is_of_keys(matrix.projection) && !makes_keys(segment, layer, depth)) continue;
    count.linear += share * (matrix_flops(plan, matrix.adapter->a) + matrix_flops(plan, matrix.adapter->b));
  }
  return count;
}

FlopCount count_layer_state_flops(const ModelPlan& plan, const Layer& layer) {
  FlopCount count;
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  if (attention == nullptr) {
    std::visit([&](const auto& mixer) { add_mixer(plan, mixer, 1, 1, count); }, layer.mixer);
    return count;
  }
  for (const ParamRef& ref : {attention->k, attention->v}) count.linear += matrix_flops(plan, ref);
  for (const Adapter* adapter : {&attention->k_adapter, &attention->v_adapter})
    count.linear += matrix_flops(plan, adapter->a) + matrix_flops(plan, adapter->b);
  return count;
}

double count_router_flops(const ModelPlan& plan, const Segment& segment, int32_t depth) {
  const Router& router = *segment.router;
  const bool expert = router.spec.kind == RouterKind::kExpertChoice;
  if (!expert && depth > 0) return 0;
  const double asked = depth == 0 ? 1.0 : kept_share(segment, depth - 1);
  double one = 0;
  for (const ParamRef& ref : {router.weight, router.hidden, router.aux_weight, router.aux_hidden})
    one += matrix_flops(plan, ref);
  return asked * one;
}

FlopCount count_flops(const ModelPlan& plan, int64_t context) {
  FlopCount count;
  count.head = matrix_flops(plan, plan.head);
  for (const Segment& segment : plan.segments) {
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      if (segment.router) count.router += count_router_flops(plan, segment, depth);
      for (const Layer& layer : segment.layers) {
        const FlopCount one = count_layer_flops(plan, segment, layer, depth, context);
        count.linear += one.linear;
        count.attention += one.attention;
        count.scan += one.scan;
      }
    }
  }
  return count;
}

bool paper_flops_apply(const ModelPlan& plan) {
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      if (layer.kind() != BlockKind::kAttention || std::get<Attention>(layer.mixer).window > 0) return false;
    }
  }
  return true;
}

double paper_flops(const ModelPlan& plan, int64_t context) {
  const auto d = static_cast<double>(plan.dims.hidden_size);
  const auto t = static_cast<double>(context);
  double total = 0;
  FATHOM_CHECK(paper_flops_apply(plan), "the paper's formula covers layers of self-attention only");
  for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const double share = kept_share(segment, depth);
    const KeySource source = key_source(segment, layer, depth);
    const double projections = (source == KeySource::kFirstDepth ? 2 : 4) * d * d;
    const double mlp = 3 * d * static_cast<double>(layer.mlp.inner);
    const double attention = 2 * t * d * share * (source == KeySource::kOwn ? share : 1);
    total += 2 * (projections + mlp) * share + attention;
  });
  return total;
}

StateBytes count_layer_state(const ModelPlan& plan, const Segment& segment, const Layer& layer,
                             DType kv_type) {
  StateBytes total;
  for (SlotId id : layer.writes) {
    const Slot& slot = plan.slots[static_cast<size_t>(id)];
    double share = 0;
    for (int32_t copy = 0; copy < slot.copies; ++copy)
      share += segment.kv == KvMode::kRecursionWise ? kept_share(segment, copy) : 1.0;
    const StateBytes bytes = count_slot(slot, share, kv_type);
    total.per_token += bytes.per_token;
    total.per_token_most += bytes.per_token_most;
    total.per_sequence += bytes.per_sequence;
  }
  return total;
}

StateBytes count_state(const ModelPlan& plan, DType kv_type) {
  StateBytes total;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      const StateBytes bytes = count_layer_state(plan, segment, layer, kv_type);
      total.per_token += bytes.per_token;
      total.per_token_most += bytes.per_token_most;
      total.per_sequence += bytes.per_sequence;
    }
  }
  return total;
}

}  // namespace fathom
