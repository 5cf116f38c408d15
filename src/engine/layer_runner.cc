#include "engine/layer_runner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <type_traits>

#include "base/check.h"
#include "kernels/attention/attention.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/round_bf16/round_bf16.h"
#include "kernels/scale_columns/scale_columns.h"
#include "kernels/swiglu/swiglu.h"

namespace fathom {

namespace {

constexpr size_t kMostProducts = 3;  // of the same rows, in any layer

}  // namespace

LayerRunner::Extents LayerRunner::extents_of(const ModelPlan& plan) {
  Extents e;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      e.mlp = std::max(e.mlp, layer.mlp.inner);
      for (const AdaptedMatrix& matrix : adapted_matrices(layer))
        e.rank = std::max(e.rank, matrix.adapter->rank);
      if (const auto* attention = std::get_if<Attention>(&layer.mixer)) {
        e.q = std::max(e.q, attention->num_heads * attention->head_dim);
        e.kv = std::max(e.kv, attention->num_kv_heads * attention->head_dim);
        e.mixed = std::max(e.mixed, attention->stripes() * attention->num_heads * attention->head_dim);
        e.stripes = std::max(e.stripes, attention->stripes());
        e.heads = std::max(e.heads, attention->num_heads);
        e.head_dim = std::max(e.head_dim, attention->head_dim);
        if (attention->prompt) e.prompt = std::max(e.prompt, attention->prompt->length);
      } else if (const auto* mamba = std::get_if<Mamba>(&layer.mixer)) {
        e.inner = std::max(e.inner, mamba->inner);
        e.bc = std::max(e.bc, mamba->dt_rank + 2 * mamba->state);
      } else if (const auto* mamba2 = std::get_if<Mamba2>(&layer.mixer)) {
        e.inner = std::max(e.inner, mamba2->channels());
        e.bc = std::max(e.bc, 2 * mamba2->heads);
      } else if (const auto* delta = std::get_if<GatedDelta>(&layer.mixer)) {
        e.inner = std::max(e.inner, 2 * delta->keys() + delta->values());
        e.bc = std::max(e.bc, kernels::kDeltaTerms * delta->heads);
        e.delta_keys = std::max(e.delta_keys, delta->key_dim);
      } else {
        e.inner = std::max(e.inner, std::get<GatedMemory>(layer.mixer).inner);
      }
    }
  }
  return e;
}

LayerRunner::LayerRunner(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
                         Parallel& parallel, const Numerics& numerics)
    : plan_(plan),
      weights_(weights),
      max_rows_(max_rows),
      context_(context),
      parallel_(parallel),
      numerics_(numerics),
      extents_(extents_of(plan)) {
  carve();
  scratch_.allocate();
  carve();
  build_rope_tables();
  build_lambdas();
  build_ssm_rates();
  build_out_scales();
  build_prompts();
}

void LayerRunner::carve() {
  const int64_t rows = max_rows_;
  const int64_t hidden = plan_.dims.hidden_size;
  normed_ = scratch_.take<float>(rows * hidden);
  branch_ = scratch_.take<float>(numerics_.rounding == Rounding::kReference ? rows * hidden : 0);
  ones_.assign(static_cast<size_t>(hidden), 1.0F);
  q_ = scratch_.take<float>(rows * extents_.q);
  k_ = scratch_.take<float>(rows * extents_.kv);
  v_ = scratch_.take<float>(rows * extents_.kv);
  mixed_ = scratch_.take<float>(rows * extents_.mixed);
  gate_ = scratch_.take<float>(rows * extents_.mlp);
  up_ = scratch_.take<float>(rows * extents_.mlp);
  low_ = scratch_.take<float>(rows * int64_t{kMostProducts} * extents_.rank);
  prompted_ = scratch_.take<float>(extents_.prompt > 0 ? rows * extents_.q : 0);
  inner_x_ = scratch_.take<float>(rows * extents_.inner);
  inner_z_ = scratch_.take<float>(rows * extents_.inner);
  conv_ = scratch_.take<float>(rows * extents_.inner);
  dt_ = scratch_.take<float>(rows * extents_.inner);
  dt_b_c_ = scratch_.take<float>(rows * extents_.bc);
  delta_workspace_ = scratch_.take<float>(
      kernels::gated_delta_fwd_workspace({.key_dim = extents_.delta_keys}, parallel_.num_threads()));
  key_begin_ = scratch_.take<int32_t>(rows);
  key_end_ = scratch_.take<int32_t>(rows);
  list_of_row_ = scratch_.take<int32_t>(rows);
  const auto sequences = static_cast<size_t>(rows);
  key_lists_.reserve(sequences);
  recurrent_states_.reserve(sequences);
  conv_sequences_.reserve(sequences);
  scan_sequences_.reserve(sequences);
  ssd_sequences_.reserve(sequences);
  delta_sequences_.reserve(sequences);
  const int64_t widest = std::max({hidden, extents_.q, extents_.mlp, extents_.inner, extents_.bc});
  linear_workspace_ = scratch_.take<uint8_t>(kernels::linear_fwd_workspace(rows, widest));
  const kernels::AttentionExtents attention = {rows, extents_.heads, extents_.head_dim, extents_.stripes,
                                               std::max(context_, extents_.prompt)};
  attention_workspace_ =
      scratch_.take<uint8_t>(kernels::attention_fwd_workspace(attention, parallel_.num_threads()));
  memory_.assign(plan_.slots.size(), nullptr);
  for (size_t s = 0; s < plan_.slots.size(); ++s) {
    if (plan_.slots[s].kind == SlotKind::kGmuMemory)
      memory_[s] = scratch_.take<float>(rows * plan_.slots[s].inner);
  }
}

void LayerRunner::build_ssm_rates() {
  ssm_rates_.resize(plan_.params.size());
  for (size_t p = 0; p < plan_.params.size(); ++p) {
    if (plan_.params[p].role != ParamRole::kSsmA) continue;
    const float* a_log = weights_.f32(static_cast<int32_t>(p));
    for (int64_t i = 0; i < elements_of(plan_.params[p]); ++i) ssm_rates_[p].push_back(-std::exp(a_log[i]));
  }
}

const float* LayerRunner::array(const ParamRef& param, int32_t depth) const {
  return param.present() ? weights_.f32(param.at(depth)) : nullptr;
}

void LayerRunner::round(float* x, int64_t count) {
  if (numerics_.rounding != Rounding::kReference) return;
  kernels::round_bf16_cpu({x, count}, running(EngineOp::kRound));
}

void LayerRunner::round_recurrent_states() {
  if (numerics_.state_type != DType::kBF16) return;
  for (SsmState* state : recurrent_states_) {
    const std::span<float> values = state->values();
    kernels::round_bf16_cpu({values.data(), static_cast<int64_t>(values.size())}, running(EngineOp::kRound));
  }
}

void LayerRunner::norm(const Norm& norm, int32_t depth, const float* x, float* y, int64_t count) {
  const int64_t dim = plan_.dims.hidden_size;
  if (numerics_.rounding == Rounding::kReference) {
    std::copy_n(x, count * dim, y);  // the residual stream itself stays as it is
    round(y, count * dim);
    x = y;
  }
  const auto eps = static_cast<float>(norm.eps);
  if (norm.kind == NormKind::kRmsNorm) {
    kernels::rms_norm_fwd_cpu(
        {.x = x, .weight = array(norm.weight, depth), .y = y, .rows = count, .dim = dim, .eps = eps},
        running(EngineOp::kNorm));
  } else {
    kernels::layer_norm_fwd_cpu({.x = x,
                                 .weight = array(norm.weight, depth),
                                 .bias = array(norm.bias, depth),
                                 .y = y,
                                 .rows = count,
                                 .dim = dim,
                                 .eps = eps},
                                running(EngineOp::kNorm));
  }
  round(y, count * dim);
}

void LayerRunner::linear(std::initializer_list<Product> products, int32_t depth, const float* x,
                         int64_t x_stride, int64_t in, int64_t rows) {
  FATHOM_CHECK(products.size() <= kMostProducts, "more products of the same rows than any mixer has");
  std::array<kernels::LinearFwd, 2 * kMostProducts> args;
  size_t count = 0;
  const auto add = [&](const ParamRef& weight) -> kernels::LinearFwd& {
    const Weights::Array& matrix = weights_.at(weight.at(depth));
    args[count] = {.x = x,
                   .weight = matrix.data,
                   .weight_type = matrix.type,
                   .weight_scale = matrix.scale,
                   .groups = matrix.groups,
                   .group = matrix.group,
                   .rows = rows,
                   .in = in,
                   .x_stride = x_stride,
                   .workspace = linear_workspace_};
    return args[count++];
  };
  float* low = low_;
  for (const Product& product : products) {
    kernels::LinearFwd& plain = add(product.weight);
    plain.bias = array(product.bias, depth);
    plain.out_scale = out_scale(product.adapter, depth);
    plain.y = product.y;
    plain.out = plain.y_stride = product.out;
    plain.scale = product.scale;
    plain.accumulate = product.accumulate;
    if (product.adapter == nullptr || !product.adapter->present()) continue;
    kernels::LinearFwd& down = add(product.adapter->a);
    down.y = low;
    down.out = down.y_stride = product.adapter->rank;
    low += rows * product.adapter->rank;
  }
  // A call's weights are of one type: beside int8 matrices, adapters and rates are bfloat16, and of int4 ones
  // some may be int8.
  for (std::span<kernels::LinearFwd> left(args.data(), count); !left.empty();) {
    const auto others =
        std::ranges::partition(left, [first = left.front()](const kernels::LinearFwd& product) {
          return product.weight_type == first.weight_type && product.group == first.group;
        });
    kernels::linear_fwd_cpu(std::span<const kernels::LinearFwd>(left.begin(), others.begin()),
                            running(EngineOp::kLinear));
    left = std::span(others);
  }
  low = low_;
  for (const Product& product : products) {
    if (product.adapter == nullptr || !product.adapter->present()) continue;
    add_low_rank(product, depth, low, rows);
    low += rows * product.adapter->rank;
  }
  for (const Product& product : products) {
    if (!product.accumulate) round(product.y, rows * product.out);
  }
}

void LayerRunner::project_onto_residual(const ParamRef& weight, const ParamRef& bias, const Adapter* adapter,
                                        int32_t depth, const float* input, int64_t in, float* x,
                                        int64_t rows) {
  const int64_t hidden = plan_.dims.hidden_size;
  if (numerics_.rounding == Rounding::kReference) {
    linear({{weight, bias, branch_, hidden, adapter, static_cast<float>(plan_.residual_scale)}}, depth, input,
           in, in, rows);
    kernels::scale_columns_fwd_cpu(
        {.x = branch_, .scale = ones_.data(), .base = x, .y = x, .rows = rows, .dim = hidden},
        running(EngineOp::kScaleColumns));
    return;
  }
  linear({{weight, bias, x, hidden, adapter, static_cast<float>(plan_.residual_scale), true}}, depth, input,
         in, in, rows);
}

void LayerRunner::run(const Segment& segment, const Layer& layer, int32_t depth, float* x, const Rows& rows,
                      const Rows& staying) {
  const Place place{layer, depth, key_source(segment, layer, depth)};
  norm(layer.norm1, depth, x, normed_, rows.count);
  if (const auto* attention = std::get_if<Attention>(&layer.mixer)) {
    mix(*attention, place, x, rows, staying);
  } else {
    std::visit(
        [&](const auto& mixer) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(mixer)>, Attention>) mix(mixer, place, x, rows);
        },
        layer.mixer);
    leave(rows, staying, x);
  }
  if (staying.count == 0) return;
  norm(layer.norm2, depth, x, normed_, staying.count);
  mlp(layer, depth, x, staying.count);
  if (!layer.encoding.present()) return;
  kernels::scale_columns_fwd_cpu({.x = x,
                                  .scale = array(layer.encoding, depth),
                                  .y = x,
                                  .rows = staying.count,
                                  .dim = plan_.dims.hidden_size},
                                 running(EngineOp::kScaleColumns));
}

float* LayerRunner::memory_of(const Layer& layer, MemorySource source) const {
  if (layer.memory != source) return nullptr;
  for (SlotId slot : layer.writes) {
    if (float* const memory = memory_[static_cast<size_t>(slot)]; memory != nullptr) return memory;
  }
  return nullptr;
}

void LayerRunner::leave(const Rows& from, const Rows& to, float* x) {
  keep_last(from, to, x, plan_.dims.hidden_size);
  for (size_t s = 0; s < memory_.size(); ++s) {
    if (memory_[s] != nullptr) keep_last(from, to, memory_[s], plan_.slots[s].inner);
  }
}

void LayerRunner::mlp(const Layer& layer, int32_t depth, float* x, int64_t rows) {
  const Mlp& mlp = layer.mlp;
  const int64_t hidden = plan_.dims.hidden_size;
  float* const memory = memory_of(layer, MemorySource::kMlpUp);
  float* const up = memory != nullptr ? memory : up_;
  linear({{mlp.gate, {}, gate_, mlp.inner, &mlp.gate_adapter}, {mlp.up, {}, up, mlp.inner, &mlp.up_adapter}},
         depth, normed_, hidden, hidden, rows);
  kernels::swiglu_fwd_cpu({.gate = gate_, .up = up, .y = gate_, .count = rows * mlp.inner},
                          running(EngineOp::kSwiglu));
  round(gate_, rows * mlp.inner);
  project_onto_residual(mlp.down, {}, &mlp.down_adapter, depth, gate_, mlp.inner, x, rows);
}

void LayerRunner::watch_memory(
    const Layer& layer, int64_t rows,
    const std::function<void(std::string_view, const float*, int64_t, int64_t)>& trace) const {
  for (SlotId slot : layer.writes) {
    const auto s = static_cast<size_t>(slot);
    if (memory_[s] != nullptr) trace("memory", memory_[s], rows, plan_.slots[s].inner);
  }
}

}  // namespace fathom
