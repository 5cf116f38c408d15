// The engine as a scheduler drives it: sequences whose states share one memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/executor.h"
#include "engine/sequence_model.h"
#include "state/prefix_cache.h"

namespace fathom {

class ExecutorModel final : public SequenceModel {
 public:
  // `executor` was made for `plan`, calls of `max_rows` rows and `context`, and outlives this. States are of
  // `kv_type` and have `budget` bytes together, of which `cached` may hold beginnings for others, kept at
  // every `keep_every` tokens.
  ExecutorModel(Executor& executor, const ModelPlan& plan, int64_t max_rows, int64_t context, DType kv_type,
                int64_t budget, int64_t cached = 0, int64_t keep_every = 256);

  int64_t vocab() const override { return plan_.dims.vocab_size; }
  int64_t context() const override { return context_; }
  int64_t max_rows() const override { return max_rows_; }
  int64_t max_logits() const override { return executor_.max_logits(); }
  int64_t bytes(int64_t tokens) const override;
  int64_t budget() const override { return memory_->budget(); }
  int64_t room() const override { return memory_->room(); }
  bool make_room(int64_t bytes) override;
  std::unique_ptr<Sequence> start(std::span<const int32_t> tokens, int64_t most_known,
                                  const DepthRule& rule) override;
  void keep(const Sequence& sequence, std::span<const int32_t> tokens, const DepthRule& rule) override;
  int64_t keep_every() const override { return keep_every_; }
  std::unique_ptr<Saved> save(const Sequence& sequence) override;
  std::unique_ptr<Sequence> restore(const Saved& saved) override;
  std::span<const float* const> pass(std::span<const Call> calls) override;

  // Sequences can be saved, in files without a name in this directory.
  void save_in(std::string directory) { directory_ = std::move(directory); }

  const StateMemory& memory() const { return *memory_; }
  // Lets go of all that is kept.
  void forget_beginnings();

 private:
  class StateSequence;
  struct StateSaved;
  Executor& executor_;
  const ModelPlan& plan_;
  int64_t max_rows_, context_;
  DType kv_type_;
  std::shared_ptr<StateMemory> memory_;
  PrefixCache cache_;  // whose pages go before their memory
  int64_t keep_every_;
  std::string directory_;  // empty: sequences are not saved
  std::vector<SequenceCall> calls_;
  std::vector<const float*> logits_;
};

}  // namespace fathom
