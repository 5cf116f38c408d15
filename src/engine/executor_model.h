// The engine as a scheduler drives it: sequences whose states share one memory.
#pragma once

#include <memory>
#include <vector>

#include "engine/executor.h"
#include "engine/sequence_model.h"

namespace fathom {

class ExecutorModel final : public SequenceModel {
 public:
  // `executor` was made for `plan`, calls of `max_rows` rows and `context`, and outlives this. States are of
  // `kv_type` and have `budget` bytes together.
  ExecutorModel(Executor& executor, const ModelPlan& plan, int64_t max_rows, int64_t context, DType kv_type,
                int64_t budget);

  int64_t vocab() const override { return plan_.dims.vocab_size; }
  int64_t context() const override { return context_; }
  int64_t max_rows() const override { return max_rows_; }
  int64_t bytes(int64_t tokens) const override;
  int64_t budget() const override { return memory_->budget(); }
  int64_t room() const override { return memory_->room(); }
  std::unique_ptr<Sequence> start() override;
  std::span<const float* const> pass(std::span<const Call> calls) override;

  const StateMemory& memory() const { return *memory_; }

 private:
  class StateSequence;
  Executor& executor_;
  const ModelPlan& plan_;
  int64_t max_rows_, context_;
  DType kv_type_;
  std::shared_ptr<StateMemory> memory_;
  std::vector<SequenceCall> calls_;
  std::vector<const float*> logits_;
};

}  // namespace fathom
