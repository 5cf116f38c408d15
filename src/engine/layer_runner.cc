#include "engine/layer_runner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/check.h"
#include "kernels/attention/attention.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/selective_scan/selective_scan.h"
#include "kernels/swiglu/swiglu.h"

namespace fathom {

LayerRunner::Extents LayerRunner::extents_of(const ModelPlan& plan) {
  Extents e;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      e.mlp = std::max(e.mlp, layer.mlp.inner);
      if (const auto* attention = std::get_if<Attention>(&layer.mixer)) {
        e.q = std::max(e.q, attention->num_heads * attention->head_dim);
        e.kv = std::max(e.kv, attention->num_kv_heads * attention->head_dim);
        e.heads = std::max(e.heads, attention->num_heads);
        e.head_dim = std::max(e.head_dim, attention->head_dim);
      } else if (const auto* mamba = std::get_if<Mamba>(&layer.mixer)) {
        e.inner = std::max(e.inner, mamba->inner);
        e.bc = std::max(e.bc, mamba->dt_rank + 2 * mamba->state);
      } else {
        e.inner = std::max(e.inner, std::get<GatedMemory>(layer.mixer).inner);
      }
    }
  }
  return e;
}

LayerRunner::LayerRunner(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
                         Parallel& parallel)
    : plan_(plan),
      weights_(weights),
      max_rows_(max_rows),
      context_(context),
      parallel_(parallel),
      extents_(extents_of(plan)) {
  carve();
  scratch_.allocate();
  carve();
  build_rope_tables();
  build_ssm_rates();
}

void LayerRunner::carve() {
  const int64_t rows = max_rows_;
  const int64_t hidden = plan_.dims.hidden_size;
  normed_ = scratch_.take<float>(rows * hidden);
  q_ = scratch_.take<float>(rows * extents_.q);
  k_ = scratch_.take<float>(rows * extents_.kv);
  v_ = scratch_.take<float>(rows * extents_.kv);
  mixed_ = scratch_.take<float>(rows * extents_.q);
  gate_ = scratch_.take<float>(rows * extents_.mlp);
  up_ = scratch_.take<float>(rows * extents_.mlp);
  inner_x_ = scratch_.take<float>(rows * extents_.inner);
  inner_z_ = scratch_.take<float>(rows * extents_.inner);
  conv_ = scratch_.take<float>(rows * extents_.inner);
  dt_ = scratch_.take<float>(rows * extents_.inner);
  dt_b_c_ = scratch_.take<float>(rows * extents_.bc);
  key_begin_ = scratch_.take<int32_t>(rows);
  key_end_ = scratch_.take<int32_t>(rows);
  const int64_t widest = std::max({hidden, extents_.q, extents_.mlp, extents_.inner, extents_.bc});
  linear_workspace_ = scratch_.take<uint8_t>(kernels::linear_fwd_workspace(rows, widest, DType::kBF16));
  attention_workspace_ = scratch_.take<uint8_t>(kernels::attention_fwd_workspace(
      rows, extents_.heads, extents_.head_dim, context_, parallel_.num_threads()));
  memory_.assign(plan_.slots.size(), nullptr);
  for (size_t s = 0; s < plan_.slots.size(); ++s) {
    if (plan_.slots[s].kind == SlotKind::kGmuMemory)
      memory_[s] = scratch_.take<float>(rows * plan_.slots[s].inner);
  }
}

const LayerRunner::RopeTable& LayerRunner::rope_table(const Attention& attention) const {
  for (const RopeTable& table : rope_tables_) {
    if (table.rope == *attention.rope && table.head_dim == attention.head_dim) return table;
  }
  FATHOM_CHECK(false, "no rotary table for this layer");
  return rope_tables_.front();
}

void LayerRunner::build_rope_tables() {
  for (const Segment& segment : plan_.segments) {
    for (const Layer& layer : segment.layers) {
      const auto* attention = std::get_if<Attention>(&layer.mixer);
      if (attention == nullptr || !attention->rope) continue;
      const bool known = std::any_of(rope_tables_.begin(), rope_tables_.end(), [&](const RopeTable& table) {
        return table.rope == *attention->rope && table.head_dim == attention->head_dim;
      });
      if (known) continue;
      const auto size = static_cast<size_t>(context_ * attention->head_dim / 2);
      RopeTable table{*attention->rope, attention->head_dim, std::vector<float>(size),
                      std::vector<float>(size)};
      kernels::rope_table(table.cos.data(), table.sin.data(), context_, attention->head_dim,
                          attention->rope->theta, attention->rope->table_bf16,
                          attention->rope->frequencies_bf16);
      rope_tables_.push_back(std::move(table));
    }
  }
}

void LayerRunner::build_ssm_rates() {
  ssm_rates_.resize(plan_.params.size());
  for (size_t p = 0; p < plan_.params.size(); ++p) {
    if (plan_.params[p].role != ParamRole::kSsmA) continue;
    const float* a_log = weights_.f32(static_cast<int32_t>(p));
    const int64_t count = plan_.params[p].shape[0] * plan_.params[p].shape[1];
    for (int64_t i = 0; i < count; ++i) ssm_rates_[p].push_back(-std::exp(a_log[i]));
  }
}

void LayerRunner::begin_call(SequenceState& state) {
  FATHOM_CHECK(state.context() == context_, "the state was made for another context length");
}

const float* LayerRunner::array(const ParamRef& param, int32_t depth) const {
  return param.present() ? weights_.f32(param.at(depth)) : nullptr;
}

void LayerRunner::norm(const Norm& norm, int32_t depth, const float* x, float* y, int64_t count) {
  const int64_t dim = plan_.dims.hidden_size;
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
}

void LayerRunner::linear(std::initializer_list<Product> products, int32_t depth, const float* x,
                         int64_t x_stride, int64_t in, int64_t rows) {
  std::array<kernels::LinearFwd, 3> args;
  FATHOM_CHECK(products.size() <= args.size(), "more products of the same rows than any mixer has");
  std::ranges::transform(products, args.begin(), [&](const Product& product) {
    const Weights::Array& matrix = weights_.at(product.weight.at(depth));
    return kernels::LinearFwd{.x = x,
                              .weight = matrix.data,
                              .weight_type = matrix.type,
                              .bias = array(product.bias, depth),
                              .y = product.y,
                              .rows = rows,
                              .in = in,
                              .out = product.out,
                              .x_stride = x_stride,
                              .y_stride = product.out,
                              .workspace = linear_workspace_};
  });
  kernels::linear_fwd_cpu(std::span<const kernels::LinearFwd>(args.data(), products.size()),
                          running(EngineOp::kLinear));
}

void LayerRunner::project_onto_residual(const ParamRef& weight, const ParamRef& bias, int32_t depth,
                                        const float* input, int64_t in, float* x, int64_t rows) {
  const Weights::Array& matrix = weights_.at(weight.at(depth));
  const int64_t hidden = plan_.dims.hidden_size;
  kernels::linear_fwd_cpu({.x = input,
                           .weight = matrix.data,
                           .weight_type = matrix.type,
                           .bias = array(bias, depth),
                           .y = x,
                           .rows = rows,
                           .in = in,
                           .out = hidden,
                           .x_stride = in,
                           .y_stride = hidden,
                           .scale = static_cast<float>(plan_.residual_scale),
                           .accumulate = true,
                           .workspace = linear_workspace_},
                          running(EngineOp::kLinear));
}

void LayerRunner::run(const Layer& layer, int32_t depth, float* x, Rows rows, SequenceState& state) {
  norm(layer.norm1, depth, x, normed_, rows.count);
  std::visit([&](const auto& mixer) { mix(mixer, layer, depth, x, rows, state); }, layer.mixer);
  norm(layer.norm2, depth, x, normed_, rows.count);
  mlp(layer.mlp, depth, x, rows.count);
}

void LayerRunner::rotate(const Attention& attention, float* x, int64_t heads, Rows rows) {
  if (!attention.rope) return;
  const RopeTable& table = rope_table(attention);
  kernels::rope_fwd_cpu({.x = x,
                         .positions = rows.positions,
                         .cos = table.cos.data(),
                         .sin = table.sin.data(),
                         .table_positions = context_,
                         .rows = rows.count,
                         .heads = heads,
                         .head_dim = attention.head_dim,
                         .x_stride = heads * attention.head_dim},
                        running(EngineOp::kRope));
}

void LayerRunner::mix(const Attention& attention, const Layer& layer, int32_t depth, float* x, Rows rows,
                      SequenceState& state) {
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t q_dim = attention.num_heads * attention.head_dim;
  const int64_t kv_dim = attention.num_kv_heads * attention.head_dim;
  const Product q{attention.q, attention.q_bias, q_, q_dim};
  if (attention.cross) {
    linear({q}, depth, normed_, hidden, hidden, rows.count);
  } else {
    linear({q, {attention.k, attention.k_bias, k_, kv_dim}, {attention.v, attention.v_bias, v_, kv_dim}},
           depth, normed_, hidden, hidden, rows.count);
  }
  rotate(attention, q_, attention.num_heads, rows);

  const SlotId slot = attention.cross ? layer.reads.front() : layer.writes.front();
  KvState& keys = state.kv(slot, plan_.slots[static_cast<size_t>(slot)].copies > 1 ? depth : 0);
  if (!attention.cross) {
    rotate(attention, k_, attention.num_kv_heads, rows);
    const OpScope scope = running(EngineOp::kKvAppend);
    keys.append(k_, v_, rows.keys);
  }
  // The layer's own keys end with its own rows, whichever positions those are; another layer's list holds
  // every position.
  const int64_t first_own = keys.length() - rows.keys;
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t end = std::min(keys.length(), attention.cross ? rows.positions[r] + 1 : first_own + r + 1);
    key_end_[r] = static_cast<int32_t>(end);
    key_begin_[r] =
        static_cast<int32_t>(attention.window > 0 ? std::max<int64_t>(0, end - attention.window) : 0);
  }
  const kernels::KeyList list = keys.keys();
  kernels::attention_fwd_cpu({.q = q_,
                              .key_begin = key_begin_,
                              .key_end = key_end_,
                              .sequences = &list,
                              .kv_type = keys.type(),
                              .out = mixed_,
                              .rows = rows.count,
                              .heads = attention.num_heads,
                              .kv_heads = attention.num_kv_heads,
                              .head_dim = attention.head_dim,
                              .scale = static_cast<float>(attention.scale),
                              .workspace = attention_workspace_},
                             running(EngineOp::kAttention));
  project_onto_residual(attention.o, attention.o_bias, depth, mixed_, q_dim, x, rows.count);
}

void LayerRunner::mix(const Mamba& mamba, const Layer& layer, int32_t depth, float* x, Rows rows,
                      SequenceState& state) {
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t bc_dim = mamba.dt_rank + 2 * mamba.state;
  const auto slot_of_kind = [&](SlotKind kind) {
    for (SlotId slot : layer.writes) {
      if (plan_.slots[static_cast<size_t>(slot)].kind == kind) return slot;
    }
    return SlotId{-1};
  };
  const SlotId state_slot = slot_of_kind(SlotKind::kSsmState);
  SsmState& ssm = state.ssm(state_slot, plan_.slots[static_cast<size_t>(state_slot)].copies > 1 ? depth : 0);

  linear({{mamba.in_x, {}, inner_x_, mamba.inner}, {mamba.in_z, {}, inner_z_, mamba.inner}}, depth, normed_,
         hidden, hidden, rows.count);
  const kernels::ConvSequence conv{{0, rows.count}, ssm.conv()};
  kernels::causal_conv1d_fwd_cpu({.x = inner_x_,
                                  .weight = array(mamba.conv_weight, depth),
                                  .bias = array(mamba.conv_bias, depth),
                                  .y = conv_,
                                  .sequences = &conv,
                                  .num_sequences = 1,
                                  .channels = mamba.inner,
                                  .width = mamba.conv},
                                 running(EngineOp::kCausalConv1d));
  linear({{mamba.x_proj, {}, dt_b_c_, bc_dim}}, depth, conv_, mamba.inner, mamba.inner, rows.count);
  linear({{mamba.dt_proj, {}, dt_, mamba.inner}}, depth, dt_b_c_, bc_dim, mamba.dt_rank, rows.count);

  // y goes where the gated memory units will read it, if this is the layer that writes their memory.
  const SlotId memory_slot = slot_of_kind(SlotKind::kGmuMemory);
  float* y = memory_slot >= 0 ? memory_[static_cast<size_t>(memory_slot)] : inner_x_;
  const kernels::ScanSequence scan{{0, rows.count}, ssm.ssm()};
  kernels::selective_scan_fwd_cpu({.x = conv_,
                                   .dt = dt_,
                                   .dt_bias = array(mamba.dt_bias, depth),
                                   .a = ssm_rates_[static_cast<size_t>(mamba.a_log.at(depth))].data(),
                                   .b = dt_b_c_ + mamba.dt_rank,
                                   .c = dt_b_c_ + mamba.dt_rank + mamba.state,
                                   .d = array(mamba.d, depth),
                                   .y = y,
                                   .sequences = &scan,
                                   .num_sequences = 1,
                                   .inner = mamba.inner,
                                   .state = mamba.state,
                                   .bc_stride = bc_dim},
                                  running(EngineOp::kSelectiveScan));
  kernels::gated_memory_fwd_cpu(
      {.memory = y, .gate = inner_z_, .y = inner_z_, .rows = rows.count, .dim = mamba.inner},
      running(EngineOp::kGatedMemory));
  project_onto_residual(mamba.out_proj, {}, depth, inner_z_, mamba.inner, x, rows.count);
}

void LayerRunner::mix(const GatedMemory& gmu, const Layer& layer, int32_t depth, float* x, Rows rows,
                      SequenceState& /*state*/) {
  const int64_t hidden = plan_.dims.hidden_size;
  linear({{gmu.in_proj, {}, inner_z_, gmu.inner}}, depth, normed_, hidden, hidden, rows.count);
  kernels::gated_memory_fwd_cpu({.memory = memory_[static_cast<size_t>(layer.reads.front())],
                                 .gate = inner_z_,
                                 .y = inner_z_,
                                 .rows = rows.count,
                                 .dim = gmu.inner},
                                running(EngineOp::kGatedMemory));
  project_onto_residual(gmu.out_proj, {}, depth, inner_z_, gmu.inner, x, rows.count);
}

void LayerRunner::mlp(const Mlp& mlp, int32_t depth, float* x, int64_t rows) {
  const int64_t hidden = plan_.dims.hidden_size;
  linear({{mlp.gate, {}, gate_, mlp.inner}, {mlp.up, {}, up_, mlp.inner}}, depth, normed_, hidden, hidden,
         rows);
  kernels::swiglu_fwd_cpu({.gate = gate_, .up = up_, .y = gate_, .count = rows * mlp.inner},
                          running(EngineOp::kSwiglu));
  project_onto_residual(mlp.down, {}, depth, gate_, mlp.inner, x, rows);
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
