// States of the decoder-hybrid-decoder family between calls.
#include <algorithm>

#include "cli/verify/model_case.h"

namespace fathom::cli::verify {

namespace {

// One tensor of a state, gathered over the sequences of a batch.
struct Gathered {
  std::vector<float> got, expected;
};

class StateTensors {
 public:
  StateTensors(ModelCase& c, Report& report) : case_(c), report_(report) {}

  // `name` as recorded, [batch, channels, width] with the newest inputs last; the engine keeps what a
  // convolution still needs of them, [width - 1, channels].
  void add_conv(const std::string& name, int64_t batch, const Slot& slot, const float* conv) {
    if (!case_.io.has(name)) return;
    const RecordedTensor& recorded = case_.io.at(name);
    const int64_t width = recorded.extent(2), kept = slot.conv - 1;
    const std::span<const float> part = recorded.part(batch);
    for (int64_t channel = 0; channel < slot.channels; ++channel) {
      for (int64_t k = 0; k < kept; ++k)
        add(name, conv[k * slot.channels + channel],
            part[static_cast<size_t>(channel * width + width - kept + k)]);
    }
  }
  void add_ssm(const std::string& name, int64_t batch, const Slot& slot, const float* ssm) {
    if (!case_.io.has(name)) return;
    const std::span<const float> part = case_.io.at(name).part(batch);
    for (int64_t i = 0; i < slot.inner * slot.state; ++i) add(name, ssm[i], part[static_cast<size_t>(i)]);
  }
  // Recorded [batch, kv heads, entries, head_dim], the oldest first: the last entries of the list. With a
  // prompt shorter than a window there are zeros, in front or behind, where the published cache has not
  // written yet.
  void add_keys(const std::string& prefix, int64_t batch, const Slot& slot, const KvState& kv) {
    for (const bool value : {false, true}) {
      const std::string name = prefix + (value ? "_v" : "_k");
      if (!case_.io.has(name)) continue;
      const RecordedTensor& recorded = case_.io.at(name);
      const int64_t entries = recorded.extent(2), dim = slot.head_dim;
      const std::span<const float> part = recorded.part(batch);
      std::vector<float> k(static_cast<size_t>(slot.num_kv_heads * dim)), v(k.size());
      const bool behind = entries > kv.length() && kv.length() > 0 && part[0] != 0;
      for (int64_t e = 0; e < entries; ++e) {
        const int64_t entry = behind ? e : kv.length() - entries + e;
        const bool written = entry >= 0 && entry < kv.length();
        if (written) kv.read(entry, k.data(), v.data());
        for (int64_t h = 0; h < slot.num_kv_heads; ++h) {
          for (int64_t d = 0; d < dim; ++d)
            add(name, !written ? 0.0F : (value ? v : k)[static_cast<size_t>(h * dim + d)],
                part[static_cast<size_t>((h * entries + e) * dim + d)]);
        }
      }
    }
  }
  void add_rows(const std::string& name, std::span<const float> got, std::span<const float> expected) {
    Gathered& tensor = tensors_[name];
    tensor.got.insert(tensor.got.end(), got.begin(), got.end());
    tensor.expected.insert(tensor.expected.end(), expected.begin(), expected.end());
  }
  void report(Kind kind) {
    for (const auto& [name, tensor] : tensors_)
      report_.compare("engine", name, kind, tensor.got, tensor.expected);
    tensors_.clear();
  }

 private:
  void add(const std::string& name, float got, float expected) {
    tensors_[name].got.push_back(got);
    tensors_[name].expected.push_back(expected);
  }
  ModelCase& case_;
  Report& report_;
  std::map<std::string, Gathered> tensors_;
};

// All persistent slots under the names "<moment>.layer.{i}.<what>".
void add_states(const ModelCase& c, const std::string& moment, int64_t batch, SequenceState& state,
                StateTensors& tensors) {
  for_each_unrolled_layer(c.plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    const std::string prefix = moment + ".layer." + std::to_string(layer.index);
    for (SlotId id : layer.writes) {
      const Slot& slot = c.plan.slots[static_cast<size_t>(id)];
      if (slot.kind == SlotKind::kSsmState) {
        tensors.add_conv(prefix + ".conv_state", batch, slot, state.ssm(id, depth).conv());
        tensors.add_ssm(prefix + ".ssm_state", batch, slot, state.ssm(id, depth).ssm());
      } else if (slot.persistent()) {
        const char* const kind = slot.kind == SlotKind::kKv ? ".full" : ".window";
        tensors.add_keys(prefix + kind, batch, slot, state.kv(id, depth));
      }
    }
  });
}

Status verify_left_padding(ModelCase& c, Report& report, Executor& executor) {
  if (!c.io.has("leftpad.input_ids")) return {};
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c, "leftpad."));
  FATHOM_ASSIGN(const RecordedTensor* logits, c.io.require("leftpad.logits"));
  const int64_t vocab = c.plan.dims.vocab_size;
  RowComparison comparison;
  for (const CaseSequence& sequence : sequences) {
    SequenceState state = executor.make_state(DType::kF32);
    ForwardOptions options;
    options.logits = Logits::kAll;
    const float* got = executor.forward(state, sequence.tokens, options).logits;
    comparison.add(sequence, got, static_cast<int64_t>(sequence.tokens.size()), vocab, *logits);
  }
  comparison.report(report, "engine", "leftpad.logits", Kind::kLogits);
  return {};
}

// A prompt shorter than the convolution: what came before it is zero.
Status verify_short_prompt(ModelCase& c, Report& report, Executor& executor,
                           const std::vector<CaseSequence>& sequences) {
  if (!c.io.has("short_prompt.conv_state.layer0")) return {};
  const Layer& first = c.plan.segments.front().layers.front();
  const SlotId id = first.writes.front();
  const Slot& slot = c.plan.slots[static_cast<size_t>(id)];
  const auto prompt = c.record.value("/short_prompt/prompt_tokens"_json_pointer, size_t{0});
  StateTensors tensors(c, report);
  for (const CaseSequence& sequence : sequences) {
    if (prompt < 1 || prompt > sequence.tokens.size() || slot.kind != SlotKind::kSsmState)
      return invalid(c.path + "/case.json: short_prompt is no prompt of this model's first layer");
    SequenceState state = executor.make_state(DType::kF32);
    executor.forward(state, std::span(sequence.tokens).first(prompt), {});
    tensors.add_conv("short_prompt.conv_state.layer0", sequence.batch, slot, state.ssm(id, 0).conv());
    tensors.add_ssm("short_prompt.ssm_state.layer0", sequence.batch, slot, state.ssm(id, 0).ssm());
  }
  tensors.report(Kind::kStates);
  return {};
}

Status verify_prefill(ModelCase& c, Report& report, Executor& executor,
                      const std::vector<CaseSequence>& sequences) {
  if (!c.io.has("prefill.logits")) return {};
  const RecordedTensor& prefill = c.io.at("prefill.logits");
  const int64_t prompt = prefill.extent(1), vocab = c.plan.dims.vocab_size;
  StateTensors states(c, report), logits(c, report);
  for (const CaseSequence& sequence : sequences) {
    const std::span<const int32_t> tokens = sequence.tokens;
    if (prompt > static_cast<int64_t>(tokens.size()))
      return invalid(c.path + ": prefill.logits is longer than input_ids");
    SequenceState state = executor.make_state(DType::kF32);
    ForwardOptions options;
    options.logits = Logits::kAll;
    const float* got = executor.forward(state, tokens.first(static_cast<size_t>(prompt)), options).logits;
    logits.add_rows("prefill.logits", {got, static_cast<size_t>(prompt * vocab)},
                    prefill.part(sequence.batch));
    add_states(c, "prefill", sequence.batch, state, states);
    for (int64_t t = 0; c.io.has("decode." + std::to_string(t) + ".logits"); ++t) {
      const std::string name = "decode." + std::to_string(t) + ".logits";
      if (prompt + t >= static_cast<int64_t>(tokens.size()))
        return invalid(c.path + ": " + name + " is behind the end of input_ids");
      got = executor.forward(state, tokens.subspan(static_cast<size_t>(prompt + t), 1), {}).logits;
      logits.add_rows(name, {got, static_cast<size_t>(vocab)}, c.io.at(name).part(sequence.batch));
    }
    add_states(c, "decode_end", sequence.batch, state, states);
  }
  logits.report(Kind::kLogits);
  states.report(Kind::kStates);
  return {};
}

}  // namespace

Status verify_states(ModelCase& c, Report& report, Executor& executor,
                     const std::vector<CaseSequence>& sequences) {
  FATHOM_TRY(verify_prefill(c, report, executor, sequences));
  FATHOM_TRY(verify_short_prompt(c, report, executor, sequences));
  return verify_left_padding(c, report, executor);
}

}  // namespace fathom::cli::verify
