#include "state/state_file.h"

#include <charconv>
#include <cstring>
#include <map>

#include "base/check.h"
#include "io/finite_values.h"
#include "io/safetensors_writer.h"

namespace fathom {

namespace {

constexpr char kVersion[] = "1";

std::string name_of(const Slot& slot, int32_t copy, const char* what) {
  return slot.name + "." + std::to_string(copy) + "." + what;
}

// Calls visit(slot, its id, copy) for all that persists.
template <class Visit>
Status for_each_state(const ModelPlan& plan, const Visit& visit) {
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    const Slot& slot = plan.slots[s];
    if (!slot.persistent()) continue;
    for (int32_t copy = 0; copy < slot.copies; ++copy) FATHOM_TRY(visit(slot, static_cast<SlotId>(s), copy));
  }
  return {};
}

// A number of tokens or entries, -1 for anything else.
int64_t count_in(const std::string& text) {
  int64_t count = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end == text.data() + text.size() ? count : -1;
}

bool is_cache(const Slot& slot) { return slot.kind != SlotKind::kSsmState; }

// The segment whose layer writes each slot.
std::vector<const Segment*> writers_of(const ModelPlan& plan) {
  std::vector<const Segment*> writers(plan.slots.size());
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      for (const SlotId slot : layer.writes) writers[static_cast<size_t>(slot)] = &segment;
    }
  }
  return writers;
}

// Reads a file, every tensor of which must be one that the plan's slots ask for: all of it is checked before
// the state is touched.
class Reader {
 public:
  Reader(const SafetensorsFile& file, const ModelPlan& plan, SequenceState& state)
      : file_(file), plan_(plan), state_(state), writers_(writers_of(plan)) {}

  Result<StateFileContent> check(const std::string& model) {
    StateFileContent content;
    FATHOM_ASSIGN(const std::string version, metadata("fathom_state"));
    if (version != kVersion)
      return wrong("fathom_state is \"" + version + "\", this program reads " + kVersion);
    FATHOM_ASSIGN(content.model, metadata("model"));
    if (content.model != model)
      return wrong("it belongs to another model, or to this one with matrices of another type");
    content.note = file_.metadata().contains("note") ? file_.metadata().at("note") : "";
    FATHOM_ASSIGN(const std::string position, metadata("position"));
    position_ = count_in(position);
    if (position_ < 0) return wrong("position is \"" + position + "\", expected a number of tokens");
    if (position_ > state_.context()) {
      return wrong("it holds " + std::to_string(position_) + " tokens, more than the context of " +
                   std::to_string(state_.context()));
    }
    FATHOM_ASSIGN(content.tokens, read_tokens());
    if (position_ > static_cast<int64_t>(content.tokens.size()))
      return wrong("position " + position + " is behind its last token");
    FATHOM_TRY(for_each_state(plan_, [&](const Slot& slot, SlotId id, int32_t copy) {
      return is_cache(slot) ? check_cache(slot, id, copy) : check_recurrence(slot, id, copy);
    }));
    if (seen_ != file_.tensors().size()) return wrong("it holds tensors that belong to no slot of the model");
    return content;
  }

  // Behind a check() without error.
  void fill() {
    state_.reset();
    for (const Cache& cache : caches_) {
      state_.kv(cache.slot, cache.copy)
          .restore(cache.length, file_.bytes(*cache.keys).data(), file_.bytes(*cache.values).data());
    }
    for (const Recurrence& recurrence : recurrences_) {
      std::memcpy(state_.ssm(recurrence.slot, recurrence.copy).values().data(),
                  file_.bytes(*recurrence.state).data(), recurrence.state->bytes());
    }
    state_.advance(position_);
  }

 private:
  // What the file has of a copy of a slot.
  struct Cache {
    SlotId slot;
    int32_t copy;
    int64_t length;
    const TensorInfo *keys, *values;
  };
  struct Recurrence {
    SlotId slot;
    int32_t copy;
    const TensorInfo* state;
  };

  Error wrong(const std::string& what) const { return invalid(file_.path() + ": " + what); }

  Result<std::string> metadata(const char* key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end())
      return wrong(std::string("it has no ") + key + ", and so is no saved state");
    return found->second;
  }

  Result<const TensorInfo*> tensor(const std::string& name) {
    const TensorInfo* info = file_.find(name);
    if (info == nullptr) return wrong("tensor " + name + " is missing");
    ++seen_;
    return info;
  }

  Result<std::vector<int32_t>> read_tokens() {
    FATHOM_ASSIGN(const TensorInfo* info, tensor("tokens"));
    if (info->dtype != DType::kI32 || info->shape.size() != 1)
      return wrong("tensor tokens is no list of int32");
    std::vector<int32_t> tokens(info->elements());
    if (!tokens.empty()) std::memcpy(tokens.data(), file_.bytes(*info).data(), info->bytes());
    for (int32_t token : tokens) {
      if (token < 0 || token >= plan_.dims.vocab_size)
        return wrong("token " + std::to_string(token) + " is not in the vocabulary");
    }
    return tokens;
  }

  Status check_recurrence(const Slot& slot, SlotId id, int32_t copy) {
    const std::string name = name_of(slot, copy, "state");
    FATHOM_ASSIGN(const TensorInfo* info, tensor(name));
    if (info->dtype != DType::kF32 || info->elements() != state_.ssm(id, copy).values().size())
      return wrong("tensor " + name + " has another type or shape than the model's slot");
    recurrences_.push_back({id, copy, info});
    return check_values(*info);
  }

  Status check_values(const TensorInfo& info) const {
    const std::optional<uint64_t> at = first_not_finite({&file_, &info});
    return at ? Status(wrong("tensor " + info.name + ": element " + std::to_string(*at) +
                             " is not a finite number"))
              : Status();
  }

  // Every token makes the first pass over a layer, and all passes where no router is. Of later ones a token
  // that makes one has made those before, over all layers of the segment.
  Status check_length(const Slot& slot, SlotId id, int32_t copy, int64_t length) {
    const Segment* const segment = writers_[static_cast<size_t>(id)];
    const auto expected = [&](const std::string& what) -> Status {
      return wrong(name_of(slot, copy, "length") + " is " + std::to_string(length) + ", expected " + what);
    };
    if (copy == 0 || !segment->router) {
      return length == position_ ? Status() : expected(std::to_string(position_) + ", one of each token");
    }
    const int64_t before = caches_.back().length;
    if (length > before) return expected("at most " + std::to_string(before) + " as at the depth before");
    const int64_t others = lengths_.try_emplace({segment, copy}, length).first->second;
    return length == others
               ? Status()
               : expected(std::to_string(others) + " as of the segment's other layers at that depth");
  }

  Status check_cache(const Slot& slot, SlotId id, int32_t copy) {
    FATHOM_ASSIGN(const TensorInfo* k, tensor(name_of(slot, copy, "keys")));
    FATHOM_ASSIGN(const TensorInfo* v, tensor(name_of(slot, copy, "values")));
    FATHOM_ASSIGN(const std::string stated, metadata(name_of(slot, copy, "length").c_str()));
    const int64_t length = count_in(stated);
    if (length < 0)
      return wrong(name_of(slot, copy, "length") + " is \"" + stated + "\", expected a number of entries");
    FATHOM_TRY(check_length(slot, id, copy, length));
    const KvState& kv = state_.kv(id, copy);
    const int64_t entry = slot.num_kv_heads * slot.head_dim, held = kv.needed(length);
    for (const TensorInfo* info : {k, v}) {
      if (info->dtype != kv.type())
        return wrong("tensor " + info->name + " is " + std::string(safetensors_name_of(info->dtype)) +
                     ", expected " + std::string(safetensors_name_of(kv.type())) + " as the state's keys");
      if (info->shape != std::vector<int64_t>{held, entry})
        return wrong("tensor " + info->name + " has shape " + shape_to_string(info->shape) + ", expected " +
                     shape_to_string(std::vector<int64_t>{held, entry}));
      FATHOM_TRY(check_values(*info));
    }
    caches_.push_back({id, copy, length, k, v});
    return {};
  }

  const SafetensorsFile& file_;
  const ModelPlan& plan_;
  SequenceState& state_;
  int64_t position_ = 0;
  size_t seen_ = 0;
  const std::vector<const Segment*> writers_;
  std::map<std::pair<const Segment*, int32_t>, int64_t> lengths_;  // of the later depths of routed segments
  std::vector<Cache> caches_;                                      // the copies of a slot behind one another
  std::vector<Recurrence> recurrences_;
};

}  // namespace

Status write_state(const std::string& path, const ModelPlan& plan, const SequenceState& state,
                   const StateFileContent& content) {
  FATHOM_CHECK(state.first_position() == 0, "a segment of a longer row is no sequence to keep");
  std::vector<TensorView> tensors = {
      view_of("tokens", DType::kI32, {static_cast<int64_t>(content.tokens.size())}, content.tokens)};
  StringMap metadata = {{"fathom_state", kVersion},
                        {"model", content.model},
                        {"position", std::to_string(state.position())},
                        {"note", content.note}};
  std::vector<std::vector<uint8_t>> storage;
  FATHOM_TRY(for_each_state(plan, [&](const Slot& slot, SlotId id, int32_t copy) -> Status {
    if (!is_cache(slot)) {
      const std::span<const float> values = state.ssm(id, copy).values();
      tensors.push_back(
          view_of(name_of(slot, copy, "state"), DType::kF32, {static_cast<int64_t>(values.size())}, values));
      return {};
    }
    const KvState& kv = state.kv(id, copy);
    const int64_t entry = slot.num_kv_heads * slot.head_dim, held = kv.needed(kv.length());
    metadata[name_of(slot, copy, "length")] = std::to_string(kv.length());
    for (const bool value : {false, true}) {
      storage.push_back(kv.saved(value));
      tensors.push_back(
          view_of(name_of(slot, copy, value ? "values" : "keys"), kv.type(), {held, entry}, storage.back()));
    }
    return {};
  }));
  return write_safetensors(path, tensors, metadata);
}

Result<StateFileContent> read_state(const std::string& path, const ModelPlan& plan, const std::string& model,
                                    SequenceState& state, const AcceptContent& accept) {
  FATHOM_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  return read_state(file, plan, model, state, accept);
}

Result<StateFileContent> read_state(const SafetensorsFile& file, const ModelPlan& plan,
                                    const std::string& model, SequenceState& state,
                                    const AcceptContent& accept) {
  Reader reader(file, plan, state);
  FATHOM_ASSIGN(StateFileContent content, reader.check(model));
  if (accept) FATHOM_TRY(accept(content));
  reader.fill();
  return content;
}

}  // namespace fathom
