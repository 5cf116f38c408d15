// The attention mixers of a layer: positions, keys and values, the two maps of differential attention.
#include <algorithm>

#include "base/check.h"
#include "engine/layer_runner.h"
#include "kernels/attention/attention.h"
#include "kernels/differential_norm/differential_norm.h"
#include "kernels/rope/rope.h"

namespace fathom {

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

void LayerRunner::build_lambdas() {
  lambdas_.resize(plan_.params.size());
  for_each_unrolled_layer(plan_, [&](const Segment&, const Layer& layer, int32_t depth) {
    const auto* attention = std::get_if<Attention>(&layer.mixer);
    if (attention == nullptr || !attention->differential) return;
    const Differential& d = *attention->differential;
    const kernels::LambdaVectors vectors = {array(d.lambda_q1, depth), array(d.lambda_k1, depth),
                                            array(d.lambda_q2, depth), array(d.lambda_k2, depth),
                                            attention->head_dim};
    const bool fast = numerics_.rounding == Rounding::kFast;
    lambdas_[static_cast<size_t>(d.lambda_q1.at(depth))] =
        fast ? kernels::differential_lambda_fwd(vectors, d.lambda_init)
             : kernels::differential_lambda_bf16(vectors, d.lambda_init);
  });
}

void LayerRunner::rotate(const Attention& attention, float* x, int64_t heads, const Rows& rows) {
  if (!attention.rope) return;
  const RopeTable& table = rope_table(attention);
  kernels::rope_fwd_cpu({.x = x,
                         .positions = rows.rotary_positions,
                         .cos = table.cos.data(),
                         .sin = table.sin.data(),
                         .table_positions = context_,
                         .rows = rows.count,
                         .heads = heads,
                         .head_dim = attention.head_dim,
                         .x_stride = heads * attention.head_dim},
                        running(EngineOp::kRope));
}

KvState& LayerRunner::key_list(const Place& place, SlotId slot, const SequenceRows& sequence) const {
  const bool one_list = plan_.slots[static_cast<size_t>(slot)].copies == 1;
  return sequence.state->kv(slot, one_list ? 0 : place.depth);
}

void LayerRunner::store_keys(const Place& place, SlotId slot, const Rows& rows) {
  const OpScope scope = running(EngineOp::kKvAppend);
  for (const SequenceRows& s : rows.sequences) {
    KvState& keys = key_list(place, slot, s);
    const int64_t at = s.rows.begin * keys.entry_elements();
    if (place.keys == KeySource::kOwn) {
      keys.append(k_ + at, v_ + at, s.keys);
    } else {
      // Depth 0 has an entry for every position by now.
      keys.append_missing(s.state->kv(slot, 0));
      keys.replace(k_ + at, v_ + at, rows.positions + s.rows.begin, s.keys);
    }
  }
}

void LayerRunner::find_keys(const Attention& attention, const Place& place, SlotId slot, const Rows& rows,
                            const Rows& asking) {
  key_lists_.clear();
  auto all = rows.sequences.begin();
  for (const SequenceRows& s : asking.sequences) {
    while (all->sequence != s.sequence) ++all;
    const KvState& keys = key_list(place, slot, s);
    // A list of the layer's own rows ends with them, whichever positions those are; every other one holds all
    // positions.
    const bool own = place.keys == KeySource::kOwn;
    const int64_t first_own = keys.length() - all->keys + all->rows.size() - s.rows.size();
    for (int64_t r = s.rows.begin; r < s.rows.end; ++r) {
      const int64_t end =
          std::min(keys.length(), own ? first_own + r - s.rows.begin + 1 : asking.positions[r] + 1);
      key_end_[r] = static_cast<int32_t>(end);
      key_begin_[r] =
          static_cast<int32_t>(attention.window > 0 ? std::max<int64_t>(0, end - attention.window) : 0);
      list_of_row_[r] = static_cast<int32_t>(key_lists_.size());
    }
    key_lists_.push_back(keys.keys());
  }
}

void LayerRunner::subtract_maps(const Attention& attention, int32_t depth, float* y, int64_t rows) {
  const Differential& d = *attention.differential;
  kernels::differential_norm_fwd_cpu({.x = mixed_,
                                      .weight = array(d.sub_norm, depth),
                                      .y = y,
                                      .rows = rows,
                                      .pairs = attention.num_heads / 2,
                                      .dim = 2 * attention.head_dim,
                                      .lambda = lambdas_[static_cast<size_t>(d.lambda_q1.at(depth))],
                                      .scale = static_cast<float>(1 - d.lambda_init),
                                      .eps = static_cast<float>(d.eps),
                                      .bf16_steps = numerics_.rounding == Rounding::kReference},
                                     running(EngineOp::kNorm));
}

void LayerRunner::mix(const Attention& attention, const Place& place, float* x, const Rows& rows,
                      const Rows& asking) {
  const int64_t hidden = plan_.dims.hidden_size;
  const int64_t q_dim = attention.num_heads * attention.head_dim;
  const int64_t kv_dim = attention.num_kv_heads * attention.head_dim;
  const int32_t depth = place.depth;
  const Product q{attention.q, attention.q_bias, q_, q_dim, &attention.q_adapter};
  const Product k{attention.k, attention.k_bias, k_, kv_dim, &attention.k_adapter};
  const Product v{attention.v, attention.v_bias, v_, kv_dim, &attention.v_adapter};
  const bool writes = place.keys == KeySource::kOwn || place.keys == KeySource::kMerged;
  const bool all_ask = asking.count == rows.count;
  if (writes && all_ask) {
    linear({q, k, v}, depth, normed_, hidden, hidden, rows.count);
  } else if (writes) {
    linear({k, v}, depth, normed_, hidden, hidden, rows.count);
  }
  keep_last(rows, asking, normed_, hidden);
  leave(rows, asking, x);
  if (asking.count > 0 && !(writes && all_ask)) linear({q}, depth, normed_, hidden, hidden, asking.count);
  const SlotId slot = attention.cross ? place.layer.reads.front() : place.layer.writes.front();
  if (writes) {
    rotate(attention, k_, attention.num_kv_heads, rows);
    store_keys(place, slot, rows);
  }
  if (asking.count == 0) return;
  rotate(attention, q_, attention.num_heads, asking);
  find_keys(attention, place, slot, rows, asking);
  const KvState& keys = key_list(place, slot, asking.sequences.front());  // the states of a call are alike
  // The output goes where the gated memory units will read it, if this is the layer that writes their memory.
  float* const memory = memory_of(place.layer, MemorySource::kMixer);
  float* const output = memory != nullptr ? memory : (attention.differential ? q_ : mixed_);
  kernels::attention_fwd_cpu({.q = q_,
                              .row_sequence = list_of_row_,
                              .key_begin = key_begin_,
                              .key_end = key_end_,
                              .sequences = key_lists_.data(),
                              .kv_type = keys.type(),
                              .kv_layout = keys.layout(),
                              .out = attention.differential ? mixed_ : output,
                              .rows = asking.count,
                              .heads = attention.num_heads,
                              .kv_heads = attention.num_kv_heads,
                              .head_dim = attention.head_dim,
                              .stripes = attention.stripes(),
                              .scale = static_cast<float>(attention.scale),
                              .workspace = attention_workspace_},
                             running(EngineOp::kAttention));
  round(attention.differential ? mixed_ : output, asking.count * attention.stripes() * q_dim);
  if (attention.differential) subtract_maps(attention, depth, output, asking.count);
  if (attention.prompt) attend_prompt(attention, depth, output, asking.count);
  project_onto_residual(attention.o, attention.o_bias, &attention.o_adapter, depth, output, q_dim, x,
                        asking.count);
}

}  // namespace fathom
