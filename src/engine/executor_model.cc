#include "engine/executor_model.h"

#include <utility>

namespace fathom {

class ExecutorModel::StateSequence final : public SequenceModel::Sequence {
 public:
  explicit StateSequence(SequenceState state) : state_(std::move(state)) {}
  int64_t position() const override { return state_.position(); }
  int64_t bytes() const override { return state_.bytes(); }
  bool reserve(int64_t rows) override { return state_.reserve(rows); }
  SequenceState& state() { return state_; }

 private:
  SequenceState state_;
};

ExecutorModel::ExecutorModel(Executor& executor, const ModelPlan& plan, int64_t max_rows, int64_t context,
                             DType kv_type, int64_t budget)
    : executor_(executor),
      plan_(plan),
      max_rows_(max_rows),
      context_(context),
      kv_type_(kv_type),
      memory_(std::make_shared<StateMemory>(budget)) {}

int64_t ExecutorModel::bytes(int64_t tokens) const { return state_bytes(plan_, tokens, max_rows_, kv_type_); }

std::unique_ptr<SequenceModel::Sequence> ExecutorModel::start() {
  return std::make_unique<StateSequence>(executor_.make_state(kv_type_, memory_));
}

std::span<const float* const> ExecutorModel::pass(std::span<const Call> calls) {
  calls_.clear();
  logits_.clear();
  for (const Call& call : calls) {
    ForwardOptions options;
    options.max_depth = call.max_depth;
    options.depth_shift = call.depth_shift;
    options.logits = call.wants_logits ? Logits::kLast : Logits::kNone;
    calls_.push_back({&static_cast<StateSequence&>(*call.sequence).state(), call.tokens, options});
  }
  for (const ForwardResult& result : executor_.forward(calls_)) logits_.push_back(result.logits);
  return logits_;
}

}  // namespace fathom
