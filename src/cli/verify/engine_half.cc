#include <algorithm>
#include <cmath>
#include <map>

#include "cli/verify/model_case.h"
#include "engine/executor.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

// What one forward call showed.
struct Watched {
  std::vector<std::string> order;  // of the residual stream: embedding, then after each module
  std::map<std::string, std::vector<float>> values;
};

Trace watch_into(Watched& watched) {
  return [&watched](std::string_view name, const float* data, int64_t rows, int64_t columns) {
    const std::string key(name);
    if (key == "embedding" || key == "routed" || key.starts_with("layer.") || key.starts_with("pass."))
      watched.order.push_back(key);
    watched.values[key].assign(data, data + rows * columns);
  };
}

// The trace's name of recorded tensor hidden.{i}: the recursion family counts from the embedding and ends
// with the final norm, the hybrids count layers.
std::string hidden_name(const ModelCase& c, const Watched& watched, int64_t i) {
  const auto modules = static_cast<int64_t>(watched.order.size());
  if (c.family == Family::kHybrid) return i + 1 < modules ? watched.order[static_cast<size_t>(i + 1)] : "";
  if (i + 1 == modules) return "final_norm";
  return i < modules ? watched.order[static_cast<size_t>(i)] : "";
}

// Collects comparisons of row tensors over the sequences of the batch.
class RowTensors {
 public:
  explicit RowTensors(ModelCase& c) : case_(c) {}
  // `rows` of the sequence, from its first: all, or those that write keys.
  void add(const std::string& tensor, Kind kind, const CaseSequence& sequence, const float* got, int64_t rows,
           int64_t columns) {
    if (!case_.io.has(tensor)) return;
    auto& [comparison, its_kind] = entries_[tensor];
    its_kind = kind;
    comparison.add(sequence, got, rows, columns, case_.io.at(tensor));
  }
  void report(Report& report, const std::string& suffix = "") const {
    for (const auto& [tensor, entry] : entries_)
      entry.first.report(report, "engine", tensor + suffix, entry.second);
  }

 private:
  ModelCase& case_;
  std::map<std::string, std::pair<RowComparison, Kind>> entries_;
};

// Router tensors are [batch, candidates]: one comparison of all sequences.
struct RouterTensors {
  std::map<std::string, std::vector<float>> got;

  void add(const Watched& watched, const CaseSequence& sequence, int64_t depths) {
    for (int64_t r = 0; r < depths; ++r) {
      const std::string name = "router." + std::to_string(r);
      const auto found = watched.values.find(name + ".logits");
      if (found == watched.values.end()) continue;
      const std::vector<float>& weights = watched.values.at(name + ".weights");
      const std::vector<float>& candidates = watched.values.at(name + ".candidates");
      const std::vector<float>& kept = watched.values.at(name + ".kept");
      append(name + ".logits", found->second);
      if (const auto aux = watched.values.find(name + ".aux_logits"); aux != watched.values.end())
        append(name + ".aux_logits", aux->second);
      size_t next = 0;
      for (size_t i = 0; i < candidates.size(); ++i) {
        got[name + ".candidates"].push_back(place(sequence, candidates[i]));
        if (next < kept.size() && kept[next] == candidates[i]) {
          got[name + ".weights"].push_back(weights[i]);
          got[name + ".selected"].push_back(place(sequence, kept[next]));
          ++next;
        }
      }
    }
  }
  // Token choice: [batch, rows, depths], all decided at once.
  void add_choice(const Watched& watched) {
    for (const char* name : {"router.logits", "router.scores_for_argmax", "router.depth_index"})
      append(name, watched.values.at(name));
  }
  void report(ModelCase& c, Report& report) const {
    for (const auto& [tensor, values] : got) {
      if (!c.io.has(tensor)) continue;
      const RecordedTensor& recorded = c.io.at(tensor);
      if (recorded.ids.empty()) {
        report.compare("engine", tensor, Kind::kLogits, values, recorded.values);
      } else {
        const std::vector<float> expected(recorded.ids.begin(), recorded.ids.end());
        report.compare("engine", tensor, Kind::kSelections, values, expected);
      }
    }
  }

 private:
  static float place(const CaseSequence& sequence, float row) {
    return static_cast<float>(sequence.places[static_cast<size_t>(row)]);
  }
  void append(const std::string& name, const std::vector<float>& values) {
    got[name].insert(got[name].end(), values.begin(), values.end());
  }
};

// Keys that the published cache holds, under the number of their unrolled layer, or of the l-th that writes
// keys which others read.
struct CachedKeys {
  std::string number;
  SlotId slot = 0;
  int32_t depth = 0;
  int64_t heads = 0, dim = 0;
  const KvState& of(const SequenceState& state) const { return state.kv(slot, depth); }
};

std::vector<CachedKeys> cached_keys(const ModelPlan& plan) {
  std::vector<CachedKeys> all;
  int32_t unrolled = 0;
  for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const bool attention = layer.kind() == BlockKind::kAttention;
    if (attention && key_source(segment, layer, depth) != KeySource::kOwn) return;
    const std::string number = std::to_string(unrolled++);
    if (!attention) return;
    const auto& mixer = std::get<Attention>(layer.mixer);
    const SlotId slot = layer.writes.front();
    const bool by_depth = plan.slots[static_cast<size_t>(slot)].copies > 1;
    all.push_back({number, slot, by_depth ? depth : 0, mixer.num_kv_heads, mixer.head_dim});
  });
  return all;
}

// The numbers that a case gives its caches, ascending: not those of the layers that are left where some were
// dropped.
std::vector<std::string> recorded_caches(const ModelCase& c) {
  constexpr std::string_view kPrefix = "cache.key.";
  std::vector<std::string> numbers;
  for (const auto& [name, tensor] : c.io.all()) {
    if (name.starts_with(kPrefix)) numbers.push_back(name.substr(kPrefix.size()));
  }
  std::ranges::sort(numbers, {}, [](const std::string& n) { return std::pair(n.size(), n); });
  return numbers;
}

// Whether a sequence has as many entries as its batch: none of its row is padding, and token choice, which
// may send more rows of another sequence to a depth, has no other.
bool fills_batch(const ModelCase& c, const CaseSequence& sequence, int64_t batch, int64_t length) {
  const bool token_choice = std::ranges::any_of(c.plan.segments, [](const Segment& segment) {
    return segment.router && segment.router->spec.kind == RouterKind::kTokenChoice;
  });
  return sequence.key_rows == length && (batch == 1 || !token_choice);
}

// cache.key.{l} / cache.value.{l}: [batch, kv heads, entries, head_dim] of CachedKeys l.
Status compare_caches(ModelCase& c, const std::vector<std::unique_ptr<SequenceState>>& states,
                      const std::vector<CaseSequence>& sequences, Report& report) {
  const int64_t batch = c.io.at("input_ids").extent(0), length = c.io.at("input_ids").extent(1);
  std::vector<CachedKeys> caches = cached_keys(c.plan);
  if (const std::vector<std::string> numbers = recorded_caches(c); numbers.size() == caches.size()) {
    for (size_t i = 0; i < caches.size(); ++i) caches[i].number = numbers[i];
  }
  for (const CachedKeys& keys : caches) {
    const std::string key_name = "cache.key." + keys.number, value_name = "cache.value." + keys.number;
    if (!c.io.has(key_name)) continue;
    FATHOM_TRY(c.io.expect(key_name, {batch, keys.heads, -1, keys.dim}));
    const RecordedTensor& key = c.io.at(key_name);
    FATHOM_TRY(c.io.expect(value_name, key.shape));
    const RecordedTensor& value = c.io.at(value_name);
    const int64_t dim = keys.dim, heads = keys.heads, entries = key.extent(2);
    std::vector<float> got_k, got_v, want_k, want_v, got_entries, want_entries,
        k(static_cast<size_t>(heads * dim)), v(k.size());
    for (size_t s = 0; s < sequences.size(); ++s) {
      const KvState& kv = keys.of(*states[s]);
      const bool full = fills_batch(c, sequences[s], batch, length);
      // At a routed depth a row with padding has entries of that, and nobody says how many.
      if (full || (entries == length && (keys.depth == 0 || !is_routed(c.plan)))) {
        got_entries.push_back(static_cast<float>(kv.length()));
        want_entries.push_back(static_cast<float>(full ? entries : sequences[s].key_rows));
      }
      // Entries of unrouted layers lie at their places, routed ones are listed in order.
      const bool listed = kv.length() != sequences[s].key_rows || entries != length;
      for (int64_t e = 0; e < kv.length(); ++e) {
        kv.read(e, k.data(), v.data());
        const int64_t place = listed ? e : sequences[s].places[static_cast<size_t>(e)];
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t at = ((sequences[s].batch * heads + h) * entries + place) * dim;
          got_k.insert(got_k.end(), k.begin() + h * dim, k.begin() + (h + 1) * dim);
          got_v.insert(got_v.end(), v.begin() + h * dim, v.begin() + (h + 1) * dim);
          if (place >= entries) continue;  // lengths differ: reported as infinite
          want_k.insert(want_k.end(), key.values.begin() + at, key.values.begin() + at + dim);
          want_v.insert(want_v.end(), value.values.begin() + at, value.values.begin() + at + dim);
        }
      }
    }
    report.compare("engine", key_name, Kind::kStates, got_k, want_k);
    report.compare("engine", value_name, Kind::kStates, got_v, want_v);
    if (!got_entries.empty())
      report.compare("engine", "entries of cache " + keys.number, Kind::kSelections, got_entries,
                     want_entries);
  }
  return {};
}

// How many entries each of the caches has at moments of decoding, as case.json lists them.
class CacheLengths {
 public:
  explicit CacheLengths(const ModelPlan& plan) : keys_(cached_keys(plan)) {}
  // The next moment of one sequence.
  void add(size_t moment, const SequenceState& state) {
    if (got_.size() <= moment) got_.resize(moment + 1);
    for (const CachedKeys& keys : keys_) got_[moment].push_back(static_cast<float>(keys.of(state).length()));
  }
  // `recorded` lists one number a cache; all sequences added have them.
  void report(const std::string& what, size_t moment, const nlohmann::json& recorded, Report& report) const {
    const auto numbers = recorded.get<std::vector<float>>();
    const std::vector<float> got = moment < got_.size() ? got_[moment] : std::vector<float>();
    std::vector<float> expected;
    for (size_t n = 0; n < got.size(); n += std::max<size_t>(keys_.size(), 1))
      expected.insert(expected.end(), numbers.begin(), numbers.end());
    report.compare("engine", what, Kind::kSelections, got, expected.empty() ? numbers : expected);
  }
  bool empty() const { return got_.empty(); }

 private:
  std::vector<CachedKeys> keys_;
  std::vector<std::vector<float>> got_;  // by moment: of each sequence its caches
};

void compare_cache_lengths(const ModelCase& c, const CacheLengths& lengths, Report& report) {
  if (lengths.empty()) return;  // no sequence is as long as the batch
  if (const auto found = c.record.find("cache_lengths_after_prefill"); found != c.record.end())
    lengths.report("entries of caches after the prompt", 0, *found, report);
  const nlohmann::json steps = c.record.value("cache_lengths_after_each_step", nlohmann::json::array());
  for (size_t step = 0; step < steps.size(); ++step)
    lengths.report("entries of caches after step " + std::to_string(step), step + 1, steps[step], report);
}

// shared_k, shared_v: [batch, length, kv heads, head_dim] of the last full cache, which cross-attention reads
// where there is any.
void add_shared_keys(ModelCase& c, const SequenceState& state, const CaseSequence& sequence,
                     RowTensors& tensors) {
  const auto last = std::find_if(c.plan.slots.rbegin(), c.plan.slots.rend(),
                                 [](const Slot& slot) { return slot.kind == SlotKind::kKv; });
  if (last == c.plan.slots.rend()) return;
  const KvState& kv = state.kv(static_cast<SlotId>(c.plan.slots.rend() - last) - 1, 0);
  const int64_t entry = last->num_kv_heads * last->head_dim;
  std::vector<float> k(static_cast<size_t>(kv.length() * entry)), v(k.size());
  for (int64_t e = 0; e < kv.length(); ++e) kv.read(e, k.data() + e * entry, v.data() + e * entry);
  tensors.add("shared_k", Kind::kStates, sequence, k.data(), kv.length(), entry);
  tensors.add("shared_v", Kind::kStates, sequence, v.data(), kv.length(), entry);
}

// Decode cases: a prompt of the recorded length, then single tokens. Expert choice decides over the rows of
// each call, as published.
Status verify_decoding(ModelCase& c, Report& report, Executor& executor,
                       const std::vector<CaseSequence>& sequences) {
  FATHOM_ASSIGN(const RecordedTensor* prefill, c.io.require("prefill.logits"));
  FATHOM_ASSIGN(const RecordedTensor* decode, c.io.require("decode.logits"));
  const int64_t prompt = prefill->extent(1), vocab = c.plan.dims.vocab_size;
  std::vector<float> got_prefill, got_decode, got_full;
  std::vector<std::unique_ptr<SequenceState>> states;
  CacheLengths lengths(c.plan);
  const RecordedTensor& ids = c.io.at("input_ids");
  for (const CaseSequence& sequence : sequences) {
    const std::span<const int32_t> tokens = sequence.tokens;
    const bool counted = fills_batch(c, sequence, ids.extent(0), ids.extent(1));
    ForwardOptions options;
    options.routing = RoutingMode::kTopK;
    options.logits = Logits::kAll;
    if (prompt > static_cast<int64_t>(tokens.size()))
      return invalid(c.path + ": prefill.logits is longer than input_ids");
    states.push_back(std::make_unique<SequenceState>(executor.make_state(DType::kF32)));
    const float* logits =
        executor.forward(*states.back(), tokens.first(static_cast<size_t>(prompt)), options).logits;
    got_prefill.insert(got_prefill.end(), logits, logits + prompt * vocab);
    if (counted) lengths.add(0, *states.back());
    for (size_t t = static_cast<size_t>(prompt); t < tokens.size(); ++t) {
      logits = executor.forward(*states.back(), tokens.subspan(t, 1), options).logits;
      got_decode.insert(got_decode.end(), logits, logits + vocab);
      if (counted) lengths.add(t + 1 - static_cast<size_t>(prompt), *states.back());
    }
    SequenceState whole = executor.make_state(DType::kF32);
    logits = executor.forward(whole, tokens, options).logits;
    got_full.insert(got_full.end(), logits, logits + static_cast<int64_t>(tokens.size()) * vocab);
  }
  report.compare("engine", "prefill.logits", Kind::kLogits, got_prefill, prefill->values);
  report.compare("engine", "decode.logits", Kind::kLogits, got_decode, decode->values);
  if (c.io.has("full_forward.logits")) {
    report.compare("engine", "full_forward.logits", Kind::kLogits, got_full,
                   c.io.at("full_forward.logits").values);
  }
  compare_cache_lengths(c, lengths, report);
  return compare_caches(c, states, sequences, report);
}

// What was recorded of a forward pass in training mode that evaluation does not repeat. The training half
// compares logits and what the routers did; nobody the rest.
void leave_to_training(ModelCase& c, Report& report) {
  std::string untouched;
  for (const std::string& tensor : c.io.unseen()) {
    const bool hidden = tensor.starts_with("hidden."), cache = tensor.starts_with("cache.");
    if (tensor != "logits" && !tensor.starts_with("router.") && !hidden && !cache) continue;
    c.io.mark(tensor);
    if (hidden || cache) untouched += (untouched.empty() ? "" : ", ") + tensor;
  }
  if (untouched.empty()) return;
  report.note("not compared, being of a training call that differs from evaluation: " + untouched);
}

bool has_memory(const ModelPlan& plan) {
  return std::ranges::any_of(plan.slots, [](const Slot& slot) { return slot.kind == SlotKind::kGmuMemory; });
}

}  // namespace

Status verify_in_engine(ModelCase& c, Report& report, Parallel& parallel) {
  compare_record(c, report);
  FATHOM_ASSIGN(const Weights weights, load_weights(c.plan, c.scheme, c.weights, DType::kF32));
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c));
  int64_t longest = 1, left_out = c.io.at("input_ids").elements();
  for (const CaseSequence& sequence : sequences) {
    const auto rows = static_cast<int64_t>(sequence.tokens.size());
    longest = std::max(longest, sequence.first_position + rows);
    left_out -= rows;
  }
  if (left_out > 0) {
    report.note("not compared: " + std::to_string(left_out) +
                " places of padding, which a ragged row does not have");
  }
  Executor executor(c.plan, weights, longest, longest, parallel);
  if (c.io.has("decode.logits")) return verify_decoding(c, report, executor, sequences);
  FATHOM_TRY(verify_states(c, report, executor, sequences));
  if (c.io.has("as_released.logits")) {
    c.io.mark("as_released.logits");
    report.note(
        "as_released.logits is not compared: the published code mixes up the sequences of this batch");
  }
  if (c.io.has("gmu_memory") && !has_memory(c.plan)) {
    c.io.mark("gmu_memory");
    report.note("gmu_memory is not compared: no layer of this model reads it, so none leaves it");
  }
  const bool evaluated = !c.training_differs();
  const std::string logits_name = evaluated ? "logits" : "eval.logits";

  const int64_t vocab = c.plan.dims.vocab_size;
  RowTensors whole(c), token_by_token(c);
  RouterTensors router;
  std::vector<std::unique_ptr<SequenceState>> states;
  double nll = 0;
  int64_t predicted = 0;
  for (const CaseSequence& sequence : sequences) {
    Watched watched;
    executor.set_trace(watch_into(watched));
    ForwardOptions options;
    options.routing = RoutingMode::kTopK;
    options.logits = Logits::kAll;
    options.key_rows = sequence.key_rows;
    const std::vector<float> draws = router_draws(c, sequence);
    options.router_draws = draws;
    states.push_back(std::make_unique<SequenceState>(executor.make_state(DType::kF32)));
    states.back()->begin_at(sequence.first_position);
    const ForwardResult forward = executor.forward(*states.back(), sequence.tokens, options);
    const std::vector<uint8_t> depths(forward.depths.begin(), forward.depths.end());
    const auto rows = static_cast<int64_t>(sequence.tokens.size());
    whole.add(logits_name, Kind::kLogits, sequence, forward.logits, rows, vocab);
    whole.add("per_sample.logits", Kind::kLogits, sequence, forward.logits, rows, vocab);
    for (int64_t r = 0; r < static_cast<int64_t>(sequence.labels.size()); ++r) {
      const int32_t label = sequence.labels[static_cast<size_t>(r)];
      if (label < 0) continue;
      nll += negative_log_likelihood({forward.logits + r * vocab, static_cast<size_t>(vocab)}, label);
      ++predicted;
    }
    const int64_t hidden_size = c.plan.dims.hidden_size;
    for (int64_t i = 0; evaluated && c.io.has("hidden." + std::to_string(i)); ++i) {
      const std::string name = hidden_name(c, watched, i);
      if (!watched.values.contains(name))
        return invalid(c.path + ": the model has no hidden." + std::to_string(i));
      whole.add("hidden." + std::to_string(i), Kind::kStates, sequence, watched.values[name].data(), rows,
                hidden_size);
    }
    whole.add("final_norm", Kind::kStates, sequence, watched.values["final_norm"].data(), rows, hidden_size);
    if (watched.values.contains("memory")) {
      const std::vector<float>& memory = watched.values["memory"];
      whole.add("gmu_memory", Kind::kStates, sequence, memory.data(), rows,
                static_cast<int64_t>(memory.size()) / rows);
    }
    add_shared_keys(c, *states.back(), sequence, whole);
    for (const Segment& segment : c.plan.segments) {
      if (!segment.router || !evaluated) continue;
      if (segment.router->spec.kind == RouterKind::kExpertChoice) {
        router.add(watched, sequence, segment.repeat);
      } else {
        router.add_choice(watched);
      }
    }

    // The same sequence one token a call, at the depths just seen. Rows that only look cannot be fed alone.
    executor.set_trace(nullptr);
    SequenceState state = executor.make_state(DType::kF32);
    state.begin_at(sequence.first_position);
    std::vector<float> logits, one_draws;
    for (size_t t = 0; t < static_cast<size_t>(sequence.key_rows); ++t) {
      ForwardOptions one;
      if (is_routed(c.plan)) {
        one.routing = RoutingMode::kReplay;
        one.replay_depths = std::span(depths).subspan(t, 1);
        one_draws.clear();
        for (size_t i = t; i < draws.size(); i += sequence.tokens.size()) one_draws.push_back(draws[i]);
        one.router_draws = one_draws;
      }
      const float* row = executor.forward(state, std::span(sequence.tokens).subspan(t, 1), one).logits;
      logits.insert(logits.end(), row, row + vocab);
    }
    token_by_token.add(logits_name, Kind::kLogits, sequence, logits.data(), sequence.key_rows, vocab);
  }
  whole.report(report);
  token_by_token.report(report, " (token by token)");
  router.report(c, report);
  if (evaluated) FATHOM_TRY(compare_caches(c, states, sequences, report));
  if (!evaluated) leave_to_training(c, report);
  const double loss = nll / static_cast<double>(std::max<int64_t>(predicted, 1));
  if (const auto recorded = recorded_scalar(c, "scalar.eval.loss_mean"); recorded && predicted > 0)
    report.compare("engine", "scalar.eval.loss_mean", Kind::kLosses, loss, *recorded);
  if (const auto recorded = c.record.find("loss");
      recorded != c.record.end() && recorded->is_number() && predicted > 0)
    report.compare("engine", "case.json: loss", Kind::kLosses, loss, recorded->get<double>());
  return {};
}

}  // namespace fathom::cli::verify
