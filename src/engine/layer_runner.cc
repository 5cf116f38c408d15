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
#include "kernels/scale_columns/scale_columns.h"
#include "kernels/selective_scan/selective_scan.h"
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
        e.heads = std::max(e.heads, attention->num_heads);
        e.head_dim = std::max(e.head_dim, attention->head_dim);
        if (attention->prompt) e.prompt = std::max(e.prompt, attention->prompt->length);
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
  build_out_scales();
  build_prompts();
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
  low_ = scratch_.take<float>(rows * int64_t{kMostProducts} * extents_.rank);
  prompted_ = scratch_.take<float>(extents_.prompt > 0 ? rows * extents_.q : 0);
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
      rows, extents_.heads, extents_.head_dim, std::max(context_, extents_.prompt), parallel_.num_threads()));
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
  first_position_ = state.first_position();
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
  FATHOM_CHECK(products.size() <= kMostProducts, "more products of the same rows than any mixer has");
  std::array<kernels::LinearFwd, 2 * kMostProducts> args;
  size_t count = 0;
  const auto add = [&](const ParamRef& weight) -> kernels::LinearFwd& {
    const Weights::Array& matrix = weights_.at(weight.at(depth));
    args[count] = {.x = x,
                   .weight = matrix.data,
                   .weight_type = matrix.type,
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
  kernels::linear_fwd_cpu(std::span<const kernels::LinearFwd>(args.data(), count),
                          running(EngineOp::kLinear));
  low = low_;
  for (const Product& product : products) {
    if (product.adapter == nullptr || !product.adapter->present()) continue;
    add_low_rank(product, depth, low, rows);
    low += rows * product.adapter->rank;
  }
}

void LayerRunner::project_onto_residual(const ParamRef& weight, const ParamRef& bias, const Adapter* adapter,
                                        int32_t depth, const float* input, int64_t in, float* x,
                                        int64_t rows) {
  linear({{weight, bias, x, plan_.dims.hidden_size, adapter, static_cast<float>(plan_.residual_scale), true}},
         depth, input, in, in, rows);
}

void LayerRunner::run(const Segment& segment, const Layer& layer, int32_t depth, float* x, Rows rows,
                      SequenceState& state) {
  const Place place{layer, depth, key_source(segment, layer, depth)};
  norm(layer.norm1, depth, x, normed_, rows.count);
  std::visit([&](const auto& mixer) { mix(mixer, place, x, rows, state); }, layer.mixer);
  norm(layer.norm2, depth, x, normed_, rows.count);
  mlp(layer.mlp, depth, x, rows.count);
  if (!layer.encoding.present()) return;
  kernels::scale_columns_fwd_cpu({.x = x,
                                  .scale = array(layer.encoding, depth),
                                  .y = x,
                                  .rows = rows.count,
                                  .dim = plan_.dims.hidden_size},
                                 running(EngineOp::kScaleColumns));
}

void LayerRunner::rotate(const Attention& attention, float* x, int64_t heads, Rows rows) {
  if (!attention.rope) return;
  const RopeTable& table = rope_table(attention);
  kernels::rope_fwd_cpu({.x = x,
                         .positions = rows.positions,
                         .cos = table.cos.data() + first_position_ * attention.head_dim / 2,
                         .sin = table.sin.data() + first_position_ * attention.head_dim / 2,
                         .table_positions = context_ - first_position_,
                         .rows = rows.count,
                         .heads = heads,
                         .head_dim = attention.head_dim,
                         .x_stride = heads * attention.head_dim},
                        running(EngineOp::kRope));
}

KvState& LayerRunner::store_keys(const Place& place, SlotId slot, Rows rows, SequenceState& state) {
  const bool one_list = plan_.slots[static_cast<size_t>(slot)].copies == 1;
  KvState& keys = state.kv(slot, one_list ? 0 : place.depth);
  if (place.keys != KeySource::kOwn && place.keys != KeySource::kMerged) return keys;
  const OpScope scope = running(EngineOp::kKvAppend);
  if (place.keys == KeySource::kOwn) {
    keys.append(k_, v_, rows.keys);
  } else {
    // Depth 0 has an entry for every position by now.
    keys.append_missing(state.kv(slot, 0));
    keys.replace(k_, v_, rows.positions, rows.keys);
  }
  return keys;
}

void LayerRunner::mix(const Attention& attention, const Place& place, float* x, Rows rows,
                      SequenceState& state) {
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t q_dim = attention.num_heads * attention.head_dim;
  const int64_t kv_dim = attention.num_kv_heads * attention.head_dim;
  const int32_t depth = place.depth;
  const Product q{attention.q, attention.q_bias, q_, q_dim, &attention.q_adapter};
  if (place.keys == KeySource::kOwn || place.keys == KeySource::kMerged) {
    linear({q,
            {attention.k, attention.k_bias, k_, kv_dim, &attention.k_adapter},
            {attention.v, attention.v_bias, v_, kv_dim, &attention.v_adapter}},
           depth, normed_, hidden, hidden, rows.count);
    rotate(attention, k_, attention.num_kv_heads, rows);
  } else {
    linear({q}, depth, normed_, hidden, hidden, rows.count);
  }
  rotate(attention, q_, attention.num_heads, rows);

  const SlotId slot = attention.cross ? place.layer.reads.front() : place.layer.writes.front();
  const KvState& keys = store_keys(place, slot, rows, state);
  // A list of the layer's own rows ends with them, whichever positions those are; every other one holds all
  // positions.
  const bool own = place.keys == KeySource::kOwn;
  const int64_t first_own = keys.length() - rows.keys;
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t end = std::min(keys.length(), own ? first_own + r + 1 : rows.positions[r] + 1);
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
  if (attention.prompt) attend_prompt(attention, depth, rows.count);
  project_onto_residual(attention.o, attention.o_bias, &attention.o_adapter, depth, mixed_, q_dim, x,
                        rows.count);
}

void LayerRunner::mix(const Mamba& mamba, const Place& place, float* x, Rows rows, SequenceState& state) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t bc_dim = mamba.dt_rank + 2 * mamba.state;
  const auto slot_of_kind = [&](SlotKind kind) {
    for (SlotId slot : place.layer.writes) {
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
  project_onto_residual(mamba.out_proj, {}, nullptr, depth, inner_z_, mamba.inner, x, rows.count);
}

void LayerRunner::mix(const GatedMemory& gmu, const Place& place, float* x, Rows rows,
                      SequenceState& /*state*/) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  linear({{gmu.in_proj, {}, inner_z_, gmu.inner}}, depth, normed_, hidden, hidden, rows.count);
  kernels::gated_memory_fwd_cpu({.memory = memory_[static_cast<size_t>(place.layer.reads.front())],
                                 .gate = inner_z_,
                                 .y = inner_z_,
                                 .rows = rows.count,
                                 .dim = gmu.inner},
                                running(EngineOp::kGatedMemory));
  project_onto_residual(gmu.out_proj, {}, nullptr, depth, inner_z_, gmu.inner, x, rows.count);
}

void LayerRunner::mlp(const Mlp& mlp, int32_t depth, float* x, int64_t rows) {
  const int64_t hidden = plan_.dims.hidden_size;
  linear({{mlp.gate, {}, gate_, mlp.inner, &mlp.gate_adapter}, {mlp.up, {}, up_, mlp.inner, &mlp.up_adapter}},
         depth, normed_, hidden, hidden, rows);
  kernels::swiglu_fwd_cpu({.gate = gate_, .up = up_, .y = gate_, .count = rows * mlp.inner},
                          running(EngineOp::kSwiglu));
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
