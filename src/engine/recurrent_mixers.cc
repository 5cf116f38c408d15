// The mixers of LayerRunner that carry a state from token to token, and the gated memory units that read what
// one of them left.
#include <algorithm>

#include "engine/layer_runner.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/selective_scan/selective_scan.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom {

void LayerRunner::find_recurrent_states(const Place& place, const Rows& rows) {
  const auto slot = std::ranges::find_if(place.layer.writes, [&](SlotId id) {
    return plan_.slots[static_cast<size_t>(id)].kind == SlotKind::kSsmState;
  });
  const int32_t depth = plan_.slots[static_cast<size_t>(*slot)].copies > 1 ? place.depth : 0;
  recurrent_states_.clear();
  for (const SequenceRows& s : rows.sequences) recurrent_states_.push_back(&s.state->ssm(*slot, depth));
}

namespace {

// The rows of each sequence with its recurrence's state, as kernels take them.
template <class Sequence>
const Sequence* with_states(const Rows& rows, const std::vector<SsmState*>& states,
                            std::vector<Sequence>& sequences) {
  sequences.clear();
  for (size_t s = 0; s < states.size(); ++s) sequences.push_back({rows.sequences[s].rows, states[s]->ssm()});
  return sequences.data();
}

int64_t count_of(const Rows& rows) { return static_cast<int64_t>(rows.sequences.size()); }

}  // namespace

float* LayerRunner::recurrent_output(const Place& place) const {
  float* const memory = memory_of(place.layer, MemorySource::kMixer);
  return memory != nullptr ? memory : inner_x_;
}

void LayerRunner::convolve(const ParamRef& weight, const ParamRef& bias, int32_t depth, const float* x,
                           float* y, int64_t channels, int64_t width, int64_t at, const Rows& rows) {
  conv_sequences_.clear();
  for (size_t s = 0; s < recurrent_states_.size(); ++s)
    conv_sequences_.push_back({rows.sequences[s].rows, recurrent_states_[s]->conv() + at});
  kernels::causal_conv1d_fwd_cpu({.x = x,
                                  .weight = array(weight, depth),
                                  .bias = array(bias, depth),
                                  .y = y,
                                  .sequences = conv_sequences_.data(),
                                  .num_sequences = count_of(rows),
                                  .channels = channels,
                                  .width = width},
                                 running(EngineOp::kCausalConv1d));
  round(y, rows.count * channels);
}

void LayerRunner::gate_memory(const float* memory, float* gate, const ParamRef& norm, double eps,
                              int32_t depth, int64_t dim, int64_t rows) {
  kernels::gated_memory_fwd_cpu({.memory = memory,
                                 .gate = gate,
                                 .weight = array(norm, depth),
                                 .y = gate,
                                 .rows = rows,
                                 .dim = dim,
                                 .eps = static_cast<float>(eps)},
                                running(EngineOp::kGatedMemory));
  round(gate, rows * dim);
}

void LayerRunner::mix(const Mamba& mamba, const Place& place, float* x, const Rows& rows) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t bc_dim = mamba.dt_rank + 2 * mamba.state;
  find_recurrent_states(place, rows);
  linear({{mamba.in_x, {}, inner_x_, mamba.inner}, {mamba.in_z, {}, inner_z_, mamba.inner}}, depth, normed_,
         hidden, hidden, rows.count);
  convolve(mamba.conv_weight, mamba.conv_bias, depth, inner_x_, conv_, mamba.inner, mamba.conv, 0, rows);
  linear({{mamba.x_proj, {}, dt_b_c_, bc_dim}}, depth, conv_, mamba.inner, mamba.inner, rows.count);
  linear({{mamba.dt_proj, {}, dt_, mamba.inner}}, depth, dt_b_c_, bc_dim, mamba.dt_rank, rows.count);

  float* y = recurrent_output(place);
  kernels::selective_scan_fwd_cpu({.x = conv_,
                                   .dt = dt_,
                                   .dt_bias = array(mamba.dt_bias, depth),
                                   .a = ssm_rates_[static_cast<size_t>(mamba.a_log.at(depth))].data(),
                                   .b = dt_b_c_ + mamba.dt_rank,
                                   .c = dt_b_c_ + mamba.dt_rank + mamba.state,
                                   .d = array(mamba.d, depth),
                                   .y = y,
                                   .sequences = with_states(rows, recurrent_states_, scan_sequences_),
                                   .num_sequences = count_of(rows),
                                   .inner = mamba.inner,
                                   .state = mamba.state,
                                   .bc_stride = bc_dim},
                                  running(EngineOp::kSelectiveScan));
  round_recurrent_states();
  // Only what others read is stored; the layer's own gate takes it as it is.
  if (y != inner_x_) round(y, rows.count * mamba.inner);
  gate_memory(y, inner_z_, {}, 0, depth, mamba.inner, rows.count);
  project_onto_residual(mamba.out_proj, {}, nullptr, depth, inner_z_, mamba.inner, x, rows.count);
}

void LayerRunner::mix(const Mamba2& mamba, const Place& place, float* x, const Rows& rows) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t inner = mamba.inner(), channels = mamba.channels();
  find_recurrent_states(place, rows);
  linear({{mamba.in_z, {}, inner_z_, inner},
          {mamba.in_xbc, {}, inner_x_, channels},
          {mamba.in_dt, {}, dt_, mamba.heads}},
         depth, normed_, hidden, hidden, rows.count);
  convolve(mamba.conv_weight, mamba.conv_bias, depth, inner_x_, conv_, channels, mamba.conv, 0, rows);

  float* y = recurrent_output(place);
  kernels::ssd_scan_fwd_cpu({.x = conv_,
                             .b = conv_ + inner,
                             .c = conv_ + inner + mamba.groups * mamba.state,
                             .dt = dt_,
                             .dt_bias = array(mamba.dt_bias, depth),
                             .a = ssm_rates_[static_cast<size_t>(mamba.a_log.at(depth))].data(),
                             .d = array(mamba.d, depth),
                             .y = y,
                             .sequences = with_states(rows, recurrent_states_, ssd_sequences_),
                             .num_sequences = count_of(rows),
                             .rates = dt_b_c_,
                             .shape = {.heads = mamba.heads,
                                       .head_dim = mamba.head_dim,
                                       .state = mamba.state,
                                       .groups = mamba.groups,
                                       .x_stride = channels}},
                            running(EngineOp::kSsdScan));
  round_recurrent_states();
  gate_memory(y, inner_z_, mamba.norm, mamba.norm_eps, depth, inner, rows.count);
  project_onto_residual(mamba.out_proj, {}, nullptr, depth, inner_z_, inner, x, rows.count);
}

void LayerRunner::mix(const GatedDelta& delta, const Place& place, float* x, const Rows& rows) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t keys = delta.keys(), values = delta.values();
  find_recurrent_states(place, rows);
  // q, k and v one array after another, before the convolutions and behind them.
  const int64_t k_at = rows.count * keys, v_at = 2 * k_at, past = delta.conv - 1;
  float* const b = dt_ + rows.count * delta.heads;
  linear({{delta.q, {}, inner_x_, keys},
          {delta.k, {}, inner_x_ + k_at, keys},
          {delta.v, {}, inner_x_ + v_at, values}},
         depth, normed_, hidden, hidden, rows.count);
  linear({{delta.g, {}, inner_z_, values}, {delta.a, {}, dt_, delta.heads}, {delta.b, {}, b, delta.heads}},
         depth, normed_, hidden, hidden, rows.count);
  convolve(delta.q_conv, {}, depth, inner_x_, conv_, keys, delta.conv, 0, rows);
  convolve(delta.k_conv, {}, depth, inner_x_ + k_at, conv_ + k_at, keys, delta.conv, past * keys, rows);
  convolve(delta.v_conv, {}, depth, inner_x_ + v_at, conv_ + v_at, values, delta.conv, 2 * past * keys, rows);

  float* y = recurrent_output(place);
  kernels::gated_delta_fwd_cpu({.q = conv_,
                                .k = conv_ + k_at,
                                .v = conv_ + v_at,
                                .dt = dt_,
                                .b = b,
                                .dt_bias = array(delta.dt_bias, depth),
                                .a = ssm_rates_[static_cast<size_t>(delta.a_log.at(depth))].data(),
                                .y = y,
                                .sequences = with_states(rows, recurrent_states_, delta_sequences_),
                                .num_sequences = count_of(rows),
                                .terms = dt_b_c_,
                                .workspace = delta_workspace_,
                                .shape = {delta.heads, delta.key_dim, delta.value_dim}},
                               running(EngineOp::kGatedDelta));
  round_recurrent_states();
  gate_memory(y, inner_z_, delta.norm, delta.norm_eps, depth, values, rows.count);
  project_onto_residual(delta.o, {}, nullptr, depth, inner_z_, values, x, rows.count);
}

const float* LayerRunner::memory_for(SlotId slot, const Rows& rows) {
  const float* const memory = memory_[static_cast<size_t>(slot)];
  if (rows.picked == nullptr) return memory;
  const int64_t inner = plan_.slots[static_cast<size_t>(slot)].inner;
  kernels::gather_rows_cpu({memory, rows.picked, inner_x_, rows.count, inner},
                           running(EngineOp::kGatherRows));
  return inner_x_;
}

void LayerRunner::mix(const GatedMemory& gmu, const Place& place, float* x, const Rows& rows) {
  const int32_t depth = place.depth;
  const int64_t hidden = plan_.dims.hidden_size;
  linear({{gmu.in_proj, {}, inner_z_, gmu.inner}}, depth, normed_, hidden, hidden, rows.count);
  gate_memory(memory_for(place.layer.reads.front(), rows), inner_z_, gmu.norm, gmu.norm_eps, depth, gmu.inner,
              rows.count);
  project_onto_residual(gmu.out_proj, {}, nullptr, depth, inner_z_, gmu.inner, x, rows.count);
}

}  // namespace fathom
