#include "train/executor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/check.h"
#include "train/recompute.h"
#include "train/recurrent_mixers.h"
#include "train/router_pass.h"
#include "train/rows.h"

namespace fathom::train {

// One forward pass.
struct Executor::Pass {
  const ModelPlan& plan;
  const NotedParameters& parameters;
  const Batch& batch;
  const ForwardOptions& options;
  std::map<std::string, std::shared_ptr<const RopeTables>>& rope_tables;
  ForwardResult result;

  struct Keys {
    Tensor k, v;
    Rows rows;
  };
  std::map<SlotId, Keys> keys;  // of the last layer that wrote each slot
  struct Memory {
    Tensor values;
    Rows rows;
  };
  std::map<SlotId, Memory> memory;  // of gated memory units

  std::vector<Tensor> in_slot(SlotId slot) const {
    if (const auto found = memory.find(slot); found != memory.end()) return {found->second.values};
    const Keys& found = keys.at(slot);
    return {found.k, found.v};
  }
  // Takes the tensors of a slot, as in_slot() gives them, off the front of `tensors`.
  void put_in_slot(SlotId slot, std::span<const Tensor>& tensors, const Rows& rows) {
    const bool is_memory = plan.slots[static_cast<size_t>(slot)].kind == SlotKind::kGmuMemory;
    if (is_memory) {
      memory[slot] = {tensors[0], rows};
    } else {
      keys[slot] = {tensors[0], tensors[1], rows};
    }
    tensors = tensors.subspan(is_memory ? 1 : 2);
  }

  void watch(const std::string& name, const Tensor& tensor) const {
    if (options.trace) options.trace(name, tensor.detach());
  }

  Tensor norm(const Norm& norm, int32_t depth, const Tensor& x) const {
    const Tensor weight = parameters.at(norm.weight, depth);
    return norm.kind == NormKind::kRmsNorm ? rms_norm(x, weight, norm.eps)
                                           : layer_norm(x, weight, parameters.at(norm.bias, depth), norm.eps);
  }

  Tensor project(const Tensor& x, const ParamRef& weight, const ParamRef& bias, int32_t depth) const {
    return linear(x, {parameters.at(weight, depth), parameters.at(bias, depth)}, options.precision);
  }

  // The same for projections that relaxation may change.
  std::vector<Tensor> project(const Tensor& x, const std::vector<Relaxable>& projections,
                              int32_t depth) const {
    return Projections(plan, parameters, options.precision, options.dropout).of(x, projections, depth);
  }

  Tensor rotate(const Attention& attention, const Tensor& x, int64_t heads, const Rows& rows) {
    if (!attention.rope) return x;
    int64_t positions = 1;
    for (int32_t position : *rows.positions) positions = std::max<int64_t>(positions, position + 1);
    const std::string key = std::to_string(attention.rope->theta) + (attention.rope->table_bf16 ? "b" : "f") +
                            (attention.rope->frequencies_bf16 ? "b" : "f") +
                            std::to_string(attention.head_dim);
    std::shared_ptr<const RopeTables>& tables = rope_tables[key];
    if (tables == nullptr || tables->positions < positions) {
      auto made = std::make_shared<RopeTables>();
      made->positions = std::max(positions, std::min<int64_t>(plan.dims.max_positions, 4 * positions));
      made->head_dim = attention.head_dim;
      made->cos.resize(static_cast<size_t>(made->positions * attention.head_dim / 2));
      made->sin.resize(made->cos.size());
      fill_rope_tables(*made, attention.rope->theta, attention.rope->table_bf16,
                       attention.rope->frequencies_bf16);
      tables = std::move(made);
    }
    return rope(x, tables, rows.positions, heads);
  }

  // A layer at one depth of its segment.
  struct Place {
    const Layer& layer;
    int32_t depth;
    KeySource keys;
    bool writes_keys() const { return keys == KeySource::kOwn || keys == KeySource::kMerged; }
  };

  // What the layer's rows attend. Own keys stay in the slot for those who read it later.
  Keys keys_of(const Place& place, SlotId slot, Keys own) {
    if (place.keys == KeySource::kOwn) return keys[slot] = std::move(own);
    const Keys& other = keys.at(slot);
    if (place.keys != KeySource::kMerged) return other;
    const SharedRows shared = rows_with_keys(own.rows, other.rows);
    return {replace_rows(other.k, gather_rows(own.k, shared.in_some), shared.in_all),
            replace_rows(other.v, gather_rows(own.v, shared.in_some), shared.in_all), other.rows};
  }

  const Rows& rows_in_slot(SlotId slot) const {
    const auto found = memory.find(slot);
    return found != memory.end() ? found->second.rows : keys.at(slot).rows;
  }

  // Leaves `tensor` to the gated memory units, if the layer writes their memory from `source`.
  void remember(const Layer& layer, MemorySource source, const Tensor& tensor, const Rows& rows) {
    if (layer.memory != source) return;
    for (SlotId slot : layer.writes) {
      if (plan.slots[static_cast<size_t>(slot)].kind != SlotKind::kGmuMemory) continue;
      memory[slot] = {tensor, rows};
      watch("memory", tensor);
    }
  }

  // The normalised difference of the two maps of differential attention, [rows, 2 * heads * head_dim].
  Tensor subtract_maps(const Differential& d, int32_t depth, const Tensor& maps) const {
    const Tensor lambda = differential_lambda(
        parameters.at(d.lambda_q1, depth), parameters.at(d.lambda_k1, depth),
        parameters.at(d.lambda_q2, depth), parameters.at(d.lambda_k2, depth), d.lambda_init);
    return differential_norm(maps, lambda, parameters.at(d.sub_norm, depth), 1 - d.lambda_init, d.eps);
  }

  // Which keys a layer's attention drops. Streams of adapters have no highest bit.
  kernels::AttentionDropout dropped_keys(const Attention& attention, const Place& place) const {
    if (!options.dropout) return {};
    const AttentionDropoutShares& shares = options.attention_dropout;
    const auto layer = static_cast<uint64_t>(place.layer.index), depth = static_cast<uint64_t>(place.depth);
    return {.share = static_cast<float>(attention.cross ? shares.cross : shares.own),
            .seed = options.dropout->seed,
            .stream = uint64_t{1} << 63 | options.dropout->call << 24 | depth << 16 | layer};
  }

  Tensor mix(const Attention& attention_block, const Place& place, const Tensor& u, const Rows& rows) {
    const Attention& a = attention_block;
    const int32_t depth = place.depth;
    std::vector<Relaxable> projections = {{a.q, a.q_bias, a.q_adapter}};
    if (place.writes_keys()) {
      projections.push_back({a.k, a.k_bias, a.k_adapter});
      projections.push_back({a.v, a.v_bias, a.v_adapter});
    }
    const std::vector<Tensor> projected = project(u, projections, depth);
    const Tensor q = rotate(a, projected[0], a.num_heads, rows);
    const SlotId slot = a.cross ? place.layer.reads.front() : place.layer.writes.front();
    Keys own;
    if (place.writes_keys()) own = {rotate(a, projected[1], a.num_kv_heads, rows), projected[2], rows};
    const Keys seen = keys_of(place, slot, std::move(own));
    if (place.keys == KeySource::kOwn) watch("keys." + std::to_string(slot), seen.k);
    Tensor mixed = attention(
        q, seen.k, seen.v, attention_rows(rows, seen.rows, a.window, /*own=*/place.keys == KeySource::kOwn),
        {a.num_heads, a.num_kv_heads, a.head_dim, a.stripes(), a.scale, dropped_keys(a, place)},
        options.precision);
    if (a.differential) mixed = subtract_maps(*a.differential, depth, mixed);
    remember(place.layer, MemorySource::kMixer, mixed, rows);
    if (a.prompt) {
      mixed =
          Projections(plan, parameters, options.precision, options.dropout).with_prompt(a, depth, q, mixed);
    }
    return project(mixed, {{a.o, a.o_bias, a.o_adapter}}, depth).front();
  }

  // The mixers of train/recurrent_mixers.h.
  template <class Recurrent>
  Tensor mix(const Recurrent& mixer, const Place& place, const Tensor& u, const Rows& rows) {
    const RecurrentResult mixed =
        train::mix(mixer, {parameters, place.depth, options.precision, rows.sequences}, u);
    remember(place.layer, MemorySource::kMixer, mixed.memory, rows);
    return mixed.branch;
  }

  Tensor mix(const GatedMemory& gmu, const Place& place, const Tensor& u, const Rows& rows) {
    const int32_t depth = place.depth;
    const Memory& all = memory.at(place.layer.reads.front());
    const Tensor remembered =
        rows.count() == all.rows.count() ? all.values : gather_rows(all.values, rows_of(rows, all.rows));
    const Tensor gate = project(u, gmu.in_proj, {}, depth);
    return project(gated_memory(remembered, gate, parameters.at(gmu.norm, depth), gmu.norm_eps), gmu.out_proj,
                   {}, depth);
  }

  Tensor add_branch(const Tensor& x, const Tensor& branch) const {
    return plan.residual_scale == 1 ? x + branch : x + branch * plan.residual_scale;
  }

  Tensor run(const Place& place, Tensor x, const Rows& rows) {
    const Layer& layer = place.layer;
    const int32_t depth = place.depth;
    const Tensor u = norm(layer.norm1, depth, x);
    x = add_branch(x, std::visit([&](const auto& mixer) { return mix(mixer, place, u, rows); }, layer.mixer));
    const Tensor v = norm(layer.norm2, depth, x);
    const Mlp& mlp = layer.mlp;
    const std::vector<Tensor> gate_up =
        project(v, {{mlp.gate, kNoBias, mlp.gate_adapter}, {mlp.up, kNoBias, mlp.up_adapter}}, depth);
    remember(layer, MemorySource::kMlpUp, gate_up[1], rows);
    const Tensor inner = swiglu(gate_up[0], gate_up[1]);
    x = add_branch(x, project(inner, {{mlp.down, kNoBias, mlp.down_adapter}}, depth).front());
    return layer.encoding.present() ? scale_columns(x, parameters.at(layer.encoding, depth), {}, {}) : x;
  }

  // Slots that the layer reads at this depth: its own of the first one too, where recursions share keys.
  static std::vector<SlotId> slots_read(const Place& place) {
    std::vector<SlotId> slots = place.layer.reads;
    if (place.keys == KeySource::kFirstDepth || place.keys == KeySource::kMerged)
      slots.push_back(place.layer.writes.front());
    return slots;
  }

  // run(), keeping for backward only what the layer reads.
  Tensor run_recomputed(const Segment& segment, const Place& place, const Tensor& x, const Rows& rows) {
    std::vector<Tensor> inputs = {x};
    std::map<SlotId, Rows> read_rows;
    const std::vector<SlotId> slots = slots_read(place);
    for (SlotId slot : slots) {
      for (const Tensor& tensor : in_slot(slot)) inputs.push_back(tensor);
      read_rows[slot] = rows_in_slot(slot);
    }
    std::vector<SlotId> passed_on;
    for (SlotId slot : place.layer.writes) {
      if (is_passed_on(segment, place, slot)) passed_on.push_back(slot);
    }
    // The second run happens when this pass is gone: it has its own, with the slots that the layer reads.
    const auto body = [&plan = plan, &rope_tables = rope_tables, place, rows, slots, read_rows, passed_on,
                       precision = options.precision, dropout = options.dropout,
                       attention_dropout = options.attention_dropout, trace = options.trace](
                          const std::vector<Tensor>& read, const NotedParameters& weights) {
      static const Batch kNoBatch;
      ForwardOptions layer_options;
      layer_options.precision = precision;
      layer_options.dropout = dropout;
      layer_options.attention_dropout = attention_dropout;
      if (!at::GradMode::is_enabled()) layer_options.trace = trace;  // the first run
      Pass pass{plan, weights, kNoBatch, layer_options, rope_tables, {}, {}, {}};
      std::span<const Tensor> rest = std::span(read).subspan(1);
      for (SlotId slot : slots) pass.put_in_slot(slot, rest, read_rows.at(slot));
      std::vector<Tensor> outputs = {pass.run(place, read[0], rows)};
      for (SlotId slot : passed_on) {
        for (const Tensor& tensor : pass.in_slot(slot)) outputs.push_back(tensor);
      }
      return outputs;
    };
    const std::vector<Tensor> outputs = recomputed(inputs, parameters.all(), body);
    std::span<const Tensor> rest = std::span(outputs).subspan(1);
    for (SlotId slot : passed_on) put_in_slot(slot, rest, rows);
    return outputs[0];
  }

  // Whether what the layer writes to the slot at this depth is read after it.
  bool is_passed_on(const Segment& of, const Place& place, SlotId slot) const {
    if (of.repeat > 1 && of.kv != KvMode::kRecursionWise) return place.keys == KeySource::kOwn;
    for (const Segment& segment : plan.segments) {
      for (const Layer& layer : segment.layers) {
        if (std::ranges::find(layer.reads, slot) != layer.reads.end()) return true;
      }
    }
    return false;
  }

  Tensor run_layer(const Segment& segment, const Layer& layer, int32_t depth, const Tensor& x,
                   const Rows& rows) {
    const Place place{layer, depth, key_source(segment, layer, depth)};
    return options.gradient_checkpointing && at::GradMode::is_enabled()
               ? run_recomputed(segment, place, x, rows)
               : run(place, x, rows);
  }

  void run_model() {
    const Rows rows = all_rows(batch);
    Tensor hidden = embedding(parameters.at(plan.embedding, 0), batch.ids);
    watch("embedding", hidden);
    const auto run_layers = [this](const Segment& segment, int32_t depth, Tensor x, const Rows& its_rows) {
      for (const Layer& layer : segment.layers) x = run_layer(segment, layer, depth, x, its_rows);
      return x;
    };
    RouterPass router(parameters, options, run_layers, result);
    for (const Segment& segment : plan.segments) {
      if (segment.router) {
        hidden = router.run(segment, hidden, rows);
        continue;
      }
      for (int32_t depth = 0; depth < segment.repeat; ++depth) {
        for (const Layer& layer : segment.layers) {
          hidden = run_layer(segment, layer, depth, hidden, rows);
          watch("layer." + std::to_string(layer.index + depth * static_cast<int32_t>(segment.layers.size())),
                hidden);
        }
      }
    }
    Tensor last = norm(plan.final_norm, 0, hidden);
    watch("final_norm", last);
    if (plan.logit_scale != 1) last = last * plan.logit_scale;
    const Tensor head = parameters.at(plan.head, 0);
    if (options.want_logits) {
      const at::NoGradGuard no_graph;
      result.logits = linear(last, {head, {}}, options.precision);
    }
    const Tensor loss = head_cross_entropy(last, head, batch.labels, options.loss_scale,
                                           options.label_smoothing, options.precision);
    result.loss_lm = loss.item<float>();
    result.loss = router.loss().defined() ? loss + router.loss() : loss;
    result.loss_total = result.loss.item<float>();
    if (router.aux_loss().defined()) result.loss = result.loss + router.aux_loss();
  }
};

Executor::Executor(const ModelPlan& plan, const Parameters& parameters)
    : plan_(plan), parameters_(parameters) {}
Executor::~Executor() = default;

ForwardResult Executor::forward(const Batch& batch, const ForwardOptions& options) {
  FATHOM_CHECK(options.routing != Routing::kReplay ||
                   static_cast<int64_t>(options.replay_depths.size()) == batch.rows(),
               "replay_depths has " + std::to_string(options.replay_depths.size()) + " entries, expected " +
                   std::to_string(batch.rows()) + ", one for each row");
  const NotedParameters parameters(parameters_);
  Pass pass{plan_, parameters, batch, options, rope_tables_, {}, {}, {}};
  pass.run_model();
  return std::move(pass.result);
}

}  // namespace fathom::train
