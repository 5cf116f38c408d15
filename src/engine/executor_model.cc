#include "engine/executor_model.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "state/saved_state.h"

namespace fathom {

class ExecutorModel::StateSequence final : public SequenceModel::Sequence {
 public:
  StateSequence(SequenceState state, PrefixCache& cache) : state_(std::move(state)), cache_(cache) {}
  int64_t position() const override { return state_.position(); }
  int64_t bytes() const override { return state_.bytes(); }
  bool reserve(int64_t rows) override {
    while (!state_.reserve(rows)) {
      if (!cache_.drop_one()) return false;
    }
    return true;
  }
  bool mark() override {
    if (state_.mark(mark_)) return true;
    mark_ = StateMark();  // copies of some recurrences, but not of all
    return false;
  }
  void go_back(int64_t position) override {
    state_.go_back(mark_, position);
    mark_ = StateMark();
  }
  SequenceState& state() { return state_; }
  const SequenceState& state() const { return state_; }

 private:
  SequenceState state_;
  StateMark mark_;  // whose pages go before their memory
  PrefixCache& cache_;
};

ExecutorModel::ExecutorModel(Executor& executor, const ModelPlan& plan, int64_t max_rows, int64_t context,
                             DType kv_type, int64_t budget, int64_t cached, int64_t keep_every)
    : executor_(executor),
      plan_(plan),
      max_rows_(max_rows),
      context_(context),
      kv_type_(kv_type),
      memory_(std::make_shared<StateMemory>(budget)),
      cache_(cached),
      keep_every_(cached > 0 ? keep_every : 0) {}

int64_t ExecutorModel::bytes(int64_t tokens) const { return state_bytes(plan_, tokens, max_rows_, kv_type_); }

bool ExecutorModel::make_room(int64_t bytes) {
  if (memory_->room() + cache_.bytes() < bytes) return false;  // letting go of everything would not do
  while (memory_->room() < bytes) {
    if (!cache_.drop_one()) return false;
  }
  return true;
}

void ExecutorModel::forget_beginnings() {
  while (cache_.drop_one()) {
  }
}

namespace {

// States under different rules are different.
uint64_t key_of(const DepthRule& rule) {
  return uint64_t{static_cast<uint32_t>(rule.max_depth)} << 32 | std::bit_cast<uint32_t>(rule.depth_shift);
}

}  // namespace

std::unique_ptr<SequenceModel::Sequence> ExecutorModel::start(std::span<const int32_t> tokens,
                                                              int64_t most_known, const DepthRule& rule) {
  const auto known = std::min(tokens.size(), static_cast<size_t>(most_known) + 1);
  std::optional<SequenceState> state = cache_.find(tokens.first(known), key_of(rule));
  if (!state) state = executor_.make_state(kv_type_, memory_);
  return std::make_unique<StateSequence>(std::move(*state), cache_);
}

void ExecutorModel::keep(const Sequence& sequence, std::span<const int32_t> tokens, const DepthRule& rule) {
  if (keep_every_ > 0) cache_.keep(tokens, key_of(rule), static_cast<const StateSequence&>(sequence).state());
}

struct ExecutorModel::StateSaved final : SequenceModel::Saved {
  explicit StateSaved(SavedState from) : state(std::move(from)) {}
  SavedState state;
};

std::unique_ptr<SequenceModel::Saved> ExecutorModel::save(const Sequence& sequence) {
  if (directory_.empty()) return nullptr;
  Result<SavedState> saved =
      SavedState::write(static_cast<const StateSequence&>(sequence).state(), directory_);
  return saved.ok() ? std::make_unique<StateSaved>(std::move(*saved)) : nullptr;
}

std::unique_ptr<SequenceModel::Sequence> ExecutorModel::restore(const Saved& saved) {
  SequenceState state = executor_.make_state(kv_type_, memory_);
  if (!static_cast<const StateSaved&>(saved).state.read(state).ok()) return nullptr;
  return std::make_unique<StateSequence>(std::move(state), cache_);
}

std::span<const float* const> ExecutorModel::pass(std::span<const Call> calls) {
  calls_.clear();
  logits_.clear();
  for (const Call& call : calls) {
    ForwardOptions options;
    options.max_depth = call.rule.max_depth;
    options.depth_shift = call.rule.depth_shift;
    options.logits = call.logit_rows > 0 ? Logits::kLast : Logits::kNone;
    options.last_rows = call.logit_rows;
    calls_.push_back({&static_cast<StateSequence&>(*call.sequence).state(), call.tokens, options});
  }
  for (const ForwardResult& result : executor_.forward(calls_)) logits_.push_back(result.logits);
  return logits_;
}

}  // namespace fathom
