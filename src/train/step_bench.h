// Optimizer steps on random tokens: the speed of training without data, evaluation or checkpoints.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "plan/model_plan.h"
#include "train/precision.h"

namespace fathom::train {

struct StepBenchOptions {
  int64_t rows = 2;          // sequences a step
  int64_t length = 512;      // tokens of each
  int64_t accumulation = 1;  // micro-batches that the rows are cut into
  int threads = 0;           // 0: LibTorch's choice
  Precision precision = Precision::kBF16;
};

class StepBench {
 public:
  // Errors: a spec that is refused, rows that do not divide into the micro-batches.
  static Result<StepBench> create(const ModelSpec& spec, const StepBenchOptions& options);
  StepBench(StepBench&&) noexcept;
  ~StepBench();

  // One step: forward and backward of every micro-batch, clipping, AdamW. Seconds.
  double step();

  int64_t parameters() const;
  int64_t tokens() const;           // of a step
  double flops_per_token() const;   // forward and backward: three times the plan's count; nothing recomputed
  int64_t memory_estimate() const;  // bytes, as a run prints it
  int threads() const;

 private:
  struct State;
  explicit StepBench(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// FLOP/s of a large product of LibTorch's, the best of three: what the machine can do in this moment.
double product_flops(Precision precision);

}  // namespace fathom::train
