#include "train/executor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "kernels/router/router.h"
#include "train/recompute.h"

namespace fathom::train {

namespace {

// The rows a layer works on: all of the batch, or those a router kept.
struct Rows {
  std::shared_ptr<const std::vector<int32_t>> positions;
  std::vector<int32_t> places;  // index of each row in its sequence, counted over the whole batch's rows
  std::vector<RowRange> sequences;
  std::vector<int64_t> keys;  // rows of each sequence that write keys
  int64_t count() const { return static_cast<int64_t>(places.size()); }
};

Rows all_rows(const Batch& batch) {
  Rows rows;
  rows.positions = std::make_shared<const std::vector<int32_t>>(batch.positions);
  rows.sequences = batch.sequences;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    for (int64_t i = 0; i < batch.sequences[s].size(); ++i) rows.places.push_back(static_cast<int32_t>(i));
    rows.keys.push_back(batch.key_rows.empty() ? batch.sequences[s].size() : batch.key_rows[s]);
  }
  return rows;
}

// The subset `kept` (indices into rows, ascending).
Rows subset(const Rows& rows, const std::vector<int32_t>& kept) {
  Rows out;
  std::vector<int32_t> positions;
  size_t next = 0;
  for (size_t s = 0; s < rows.sequences.size(); ++s) {
    const auto begin = static_cast<int64_t>(positions.size());
    int64_t keys = 0;
    while (next < kept.size() && kept[next] < rows.sequences[s].end) {
      const int32_t row = kept[next++];
      positions.push_back((*rows.positions)[static_cast<size_t>(row)]);
      out.places.push_back(rows.places[static_cast<size_t>(row)]);
      keys += row - rows.sequences[s].begin < rows.keys[s] ? 1 : 0;
    }
    out.sequences.push_back({begin, static_cast<int64_t>(positions.size())});
    out.keys.push_back(keys);
  }
  out.positions = std::make_shared<const std::vector<int32_t>>(std::move(positions));
  return out;
}

// Own keys end with the row itself; another layer's keys hold every place.
std::shared_ptr<const AttentionRows> attention_rows(const Rows& queries, const Rows& keys, int64_t window,
                                                    bool cross) {
  auto out = std::make_shared<AttentionRows>();
  out->query_rows = queries.sequences;
  for (size_t s = 0; s < keys.sequences.size(); ++s) {
    out->key_rows.push_back({keys.sequences[s].begin, keys.sequences[s].begin + keys.keys[s]});
  }
  for (size_t s = 0; s < queries.sequences.size(); ++s) {
    for (int64_t r = queries.sequences[s].begin; r < queries.sequences[s].end; ++r) {
      const int64_t own =
          cross ? queries.places[static_cast<size_t>(r)] + 1 : r - queries.sequences[s].begin + 1;
      const int64_t end = std::min(own, keys.keys[s]);
      out->key_end.push_back(static_cast<int32_t>(end));
      out->key_begin.push_back(static_cast<int32_t>(window > 0 ? std::max<int64_t>(0, end - window) : 0));
      out->sequence.push_back(static_cast<int32_t>(s));
    }
  }
  return out;
}

kernels::RouterScore score_of(const RouterSpec& spec) {
  if (spec.score == ScoreFunction::kSigmoid) return kernels::RouterScore::kSigmoid;
  if (spec.score == ScoreFunction::kTanh) return kernels::RouterScore::kTanh;
  FATHOM_CHECK(spec.score == ScoreFunction::kNone, "softmax scores belong to token choice");
  return kernels::RouterScore::kIdentity;
}

// Capacity on the way from 1 to c (Mixture-of-Recursions 3.2).
double warmed_capacity(double capacity, double done) {
  return capacity + (1.0 - capacity) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, done)));
}

}  // namespace

// One forward pass.
struct Executor::Pass {
  const ModelPlan& plan;
  const NotedParameters& parameters;
  const Batch& batch;
  const ForwardOptions& options;
  std::map<std::string, std::shared_ptr<const RopeTables>>& rope_tables;
  ForwardResult result;
  Tensor router_losses;  // scalar, undefined without

  struct Keys {
    Tensor k, v;
    Rows rows;
  };
  std::map<SlotId, Keys> keys;      // of the last layer that wrote each slot
  std::map<SlotId, Tensor> memory;  // of gated memory units

  std::vector<Tensor> in_slot(SlotId slot) const {
    if (const auto found = memory.find(slot); found != memory.end()) return {found->second};
    const Keys& found = keys.at(slot);
    return {found.k, found.v};
  }
  // Takes the tensors of a slot, as in_slot() gives them, off the front of `tensors`.
  void put_in_slot(SlotId slot, std::span<const Tensor>& tensors, const Rows& rows) {
    const bool is_memory = plan.slots[static_cast<size_t>(slot)].kind == SlotKind::kGmuMemory;
    if (is_memory) {
      memory[slot] = tensors[0];
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
    return linear(x, {parameters.at(weight, depth), parameters.at(bias, depth)}, options.bf16);
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

  Tensor mix(const Attention& attention_block, const Layer& layer, int32_t depth, const Tensor& u,
             const Rows& rows) {
    const Attention& a = attention_block;
    std::vector<LinearWeights> projections = {{parameters.at(a.q, depth), parameters.at(a.q_bias, depth)}};
    if (!a.cross) {
      projections.push_back({parameters.at(a.k, depth), parameters.at(a.k_bias, depth)});
      projections.push_back({parameters.at(a.v, depth), parameters.at(a.v_bias, depth)});
    }
    const std::vector<Tensor> projected = linears(u, projections, options.bf16);
    const Tensor q = rotate(a, projected[0], a.num_heads, rows);
    const SlotId slot = a.cross ? layer.reads.front() : layer.writes.front();
    if (!a.cross) {
      keys[slot] = {rotate(a, projected[1], a.num_kv_heads, rows), projected[2], rows};
      watch("keys." + std::to_string(slot), keys[slot].k);
    }
    const Keys& seen = keys.at(slot);
    const Tensor mixed = attention(q, seen.k, seen.v, attention_rows(rows, seen.rows, a.window, a.cross),
                                   {a.num_heads, a.num_kv_heads, a.head_dim, a.scale}, options.bf16);
    return project(mixed, a.o, a.o_bias, depth);
  }

  Tensor mix(const Mamba& m, const Layer& layer, int32_t depth, const Tensor& u, const Rows& rows) {
    const std::vector<Tensor> z_x =
        linears(u, {{parameters.at(m.in_z, depth), {}}, {parameters.at(m.in_x, depth), {}}}, options.bf16);
    const Tensor& z = z_x[0];
    const Tensor x = causal_conv1d(z_x[1], parameters.at(m.conv_weight, depth),
                                   parameters.at(m.conv_bias, depth), rows.sequences);
    const Tensor dt_b_c = project(x, m.x_proj, {}, depth);
    const Tensor dt = project(dt_b_c.narrow(1, 0, m.dt_rank), m.dt_proj, {}, depth);
    const Tensor y = selective_scan(x, dt, parameters.at(m.dt_bias, depth), parameters.at(m.a_log, depth),
                                    dt_b_c, parameters.at(m.d, depth), m.dt_rank, rows.sequences);
    for (SlotId slot : layer.writes) {
      if (plan.slots[static_cast<size_t>(slot)].kind != SlotKind::kGmuMemory) continue;
      memory[slot] = y;
      watch("memory", y);
    }
    return project(gated_memory(y, z), m.out_proj, {}, depth);
  }

  Tensor mix(const GatedMemory& gmu, const Layer& layer, int32_t depth, const Tensor& u,
             const Rows& /*rows*/) {
    return project(gated_memory(memory.at(layer.reads.front()), project(u, gmu.in_proj, {}, depth)),
                   gmu.out_proj, {}, depth);
  }

  Tensor add_branch(const Tensor& x, const Tensor& branch) const {
    return plan.residual_scale == 1 ? x + branch : x + branch * plan.residual_scale;
  }

  Tensor run(const Layer& layer, int32_t depth, Tensor x, const Rows& rows) {
    const Tensor u = norm(layer.norm1, depth, x);
    x = add_branch(
        x, std::visit([&](const auto& mixer) { return mix(mixer, layer, depth, u, rows); }, layer.mixer));
    const Tensor v = norm(layer.norm2, depth, x);
    const std::vector<Tensor> gate_up =
        linears(v, {{parameters.at(layer.mlp.gate, depth), {}}, {parameters.at(layer.mlp.up, depth), {}}},
                options.bf16);
    const Tensor inner = swiglu(gate_up[0], gate_up[1]);
    return add_branch(x, project(inner, layer.mlp.down, {}, depth));
  }

  // run(), keeping for backward only what the layer reads.
  Tensor run_recomputed(const Layer& layer, int32_t depth, const Tensor& x, const Rows& rows) {
    std::vector<Tensor> inputs = {x};
    std::map<SlotId, Rows> read_rows;
    for (SlotId slot : layer.reads) {
      for (const Tensor& tensor : in_slot(slot)) inputs.push_back(tensor);
      if (const auto found = keys.find(slot); found != keys.end()) read_rows[slot] = found->second.rows;
    }
    std::vector<SlotId> passed_on;
    for (SlotId slot : layer.writes) {
      if (is_read(slot)) passed_on.push_back(slot);
    }
    // The second run happens when this pass is gone: it has its own, with the slots that the layer reads.
    const auto body = [&plan = plan, &rope_tables = rope_tables, &layer, depth, rows, read_rows, passed_on,
                       bf16 = options.bf16, trace = options.trace](const std::vector<Tensor>& read,
                                                                   const NotedParameters& weights) {
      static const Batch kNoBatch;
      ForwardOptions layer_options;
      layer_options.bf16 = bf16;
      if (!at::GradMode::is_enabled()) layer_options.trace = trace;  // the first run
      Pass pass{plan, weights, kNoBatch, layer_options, rope_tables, {}, {}, {}, {}};
      std::span<const Tensor> rest = std::span(read).subspan(1);
      for (SlotId slot : layer.reads)
        pass.put_in_slot(slot, rest, read_rows.contains(slot) ? read_rows.at(slot) : Rows());
      std::vector<Tensor> outputs = {pass.run(layer, depth, read[0], rows)};
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

  bool is_read(SlotId slot) const {
    for (const Segment& segment : plan.segments) {
      for (const Layer& layer : segment.layers) {
        if (std::ranges::find(layer.reads, slot) != layer.reads.end()) return true;
      }
    }
    return false;
  }

  Tensor run_layer(const Layer& layer, int32_t depth, const Tensor& x, const Rows& rows) {
    return options.gradient_checkpointing && at::GradMode::is_enabled()
               ? run_recomputed(layer, depth, x, rows)
               : run(layer, depth, x, rows);
  }

  // Mixture-of-Recursions 3.3.
  Tensor run_routed(const Segment& segment, Tensor hidden, const Rows& everything) {
    const RouterSpec& spec = segment.router->spec;
    std::vector<int32_t> active(static_cast<size_t>(everything.count()));
    for (size_t r = 0; r < active.size(); ++r) active[r] = static_cast<int32_t>(r);
    Rows candidates = everything;
    for (int32_t depth = 0; depth < segment.repeat && !active.empty(); ++depth) {
      const bool whole = candidates.count() == everything.count();
      const Tensor x = whole ? hidden : gather_rows(hidden, active);
      const RouterScores scores = router_scores(x, parameters.at(segment.router->weight, depth),
                                                spec.temperature, spec.alpha, score_of(spec));
      const std::vector<int32_t> kept = choose(spec, depth, active, candidates, everything, scores);
      std::vector<int32_t> kept_rows;
      for (int32_t i : kept) kept_rows.push_back(active[static_cast<size_t>(i)]);
      note_pass(spec, scores, active, kept, kept_rows);
      if (kept.empty()) break;
      const bool all_kept = static_cast<int64_t>(kept.size()) == candidates.count();
      // A node of its own: gradients of what the layers read are added up here, then to those of other
      // readers.
      Tensor y = all_kept ? x.view_as(x) : gather_rows(x, kept);
      const Rows rows = subset(candidates, kept);
      for (const Layer& layer : segment.layers) y = run_layer(layer, depth, y, rows);
      Tensor weights;
      if (segment.combine == Combine::kWeighted) {
        weights = all_kept ? scores.weights : gather_rows(scores.weights.view({-1, 1}), kept).view({-1});
      }
      hidden = scatter_add_rows(hidden, y, kept_rows, weights);
      watch("pass." + std::to_string(depth), hidden);
      candidates = rows;
      active = kept_rows;
    }
    return hidden;
  }

  // Candidates, as indices among them, that make pass `depth`. `active` holds their rows in the batch.
  std::vector<int32_t> choose(const RouterSpec& spec, int32_t depth, const std::vector<int32_t>& active,
                              const Rows& candidates, const Rows& everything,
                              const RouterScores& scores) const {
    const float* logits = scores.logits.const_data_ptr<float>();
    std::vector<int32_t> kept;
    if (options.routing == Routing::kReplay) {
      for (size_t i = 0; i < active.size(); ++i) {
        if (options.replay_depths[static_cast<size_t>(active[i])] > depth)
          kept.push_back(static_cast<int32_t>(i));
      }
      return kept;
    }
    if (options.routing == Routing::kThreshold) {
      const double threshold = spec.threshold.empty() ? 0.0 : spec.threshold[static_cast<size_t>(depth)];
      for (int64_t i = 0; i < candidates.count(); ++i) {
        if (depth == 0 || logits[i] >= static_cast<float>(threshold)) kept.push_back(static_cast<int32_t>(i));
      }
      return kept;
    }
    std::vector<int64_t> keep;
    int64_t total = 0, longest = 0;
    const double capacity =
        warmed_capacity(spec.capacity[static_cast<size_t>(depth)], options.capacity_warmup);
    for (size_t s = 0; s < candidates.sequences.size(); ++s) {
      const int64_t here = candidates.sequences[s].size();
      keep.push_back(here == 0 ? 0
                               : kernels::router_capacity(capacity, everything.sequences[s].size(), here));
      total += keep.back();
      longest = std::max(longest, here);
    }
    kept.resize(static_cast<size_t>(total));
    std::vector<int32_t> workspace(static_cast<size_t>(longest));
    SerialParallel serial;
    kernels::router_top_k_cpu({.weights = scores.weights.const_data_ptr<float>(),
                               .logits = logits,
                               .sequences = candidates.sequences.data(),
                               .keep = keep.data(),
                               .num_sequences = static_cast<int64_t>(keep.size()),
                               .kept = kept.data(),
                               .workspace = workspace.data()},
                              serial);
    return kept;
  }

  void add_router_loss(const Tensor& loss) {
    router_losses = router_losses.defined() ? router_losses + loss : loss;
  }

  void note_pass(const RouterSpec& spec, const RouterScores& scores, const std::vector<int32_t>& active,
                 const std::vector<int32_t>& kept, const std::vector<int32_t>& kept_rows) {
    RoutedPass pass;
    pass.candidates = active;
    pass.kept = kept_rows;
    pass.logits = scores.logits.detach();
    pass.weights = scores.weights.detach();
    const float* logits = pass.logits.const_data_ptr<float>();
    size_t next = 0, right = 0;
    double squares = 0;
    for (size_t i = 0; i < active.size(); ++i) {
      const bool was_kept = next < kept.size() && kept[next] == static_cast<int32_t>(i);
      next += was_kept ? 1 : 0;
      // Score at least one half (tanh: zero) is a logit of at least zero in every case but the bare logit.
      const bool says = spec.score == ScoreFunction::kNone ? logits[i] >= 0.5F : logits[i] >= 0.0F;
      right += says == was_kept ? 1 : 0;
      squares += double{logits[i]} * logits[i];
    }
    const auto count = static_cast<double>(active.size());
    pass.accuracy = static_cast<double>(right) / count;
    if (spec.loss == RouterLoss::kAuxLoss) {
      const Tensor bce = router_bce(scores.logits, kept);
      pass.bce = bce.item<float>();
      result.sampling_loss += pass.bce;
      add_router_loss(bce * spec.loss_coefficient);
    }
    if (spec.z_coefficient > 0) {
      result.z_loss += squares / count;
      add_router_loss((scores.logits * scores.logits).mean() * spec.z_coefficient);
    }
    result.passes.push_back(std::move(pass));
  }

  void run_model() {
    const Rows rows = all_rows(batch);
    Tensor hidden = embedding(parameters.at(plan.embedding, 0), batch.ids);
    watch("embedding", hidden);
    for (const Segment& segment : plan.segments) {
      if (segment.router) {
        hidden = run_routed(segment, hidden, rows);
        continue;
      }
      for (int32_t depth = 0; depth < segment.repeat; ++depth) {
        for (const Layer& layer : segment.layers) {
          hidden = run_layer(layer, depth, hidden, rows);
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
      result.logits = linear(last, {head, {}}, options.bf16);
    }
    const Tensor loss = head_cross_entropy(last, head, batch.labels, options.loss_scale,
                                           options.label_smoothing, options.bf16);
    result.loss_lm = loss.item<float>();
    result.loss = router_losses.defined() ? loss + router_losses : loss;
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
  Pass pass{plan_, parameters, batch, options, rope_tables_, {}, {}, {}, {}};
  pass.run_model();
  return std::move(pass.result);
}

}  // namespace fathom::train
