// What a training run will occupy, from the plan alone.
#pragma once

#include <cstdint>

#include "plan/model_plan.h"
#include "train/run_config.h"

namespace fathom::train {

// One run's shape: what decides its memory beside the plan.
struct MemoryShape {
  int64_t rows = 0;          // token rows of one micro-batch
  int64_t accumulation = 1;  // micro-batches of a step
  bool bf16 = false;
  bool gradient_checkpointing = false;
};
MemoryShape memory_shape_of(const RunConfig& config);

// Bytes that one micro-batch keeps from forward to backward, and what the head or backward of a layer holds
// beside them, whichever is more.
int64_t activation_bytes(const ModelPlan& plan, const MemoryShape& shape);

// Bytes resident at the most: parameters, gradients, moments, activations, libraries. Evaluations and
// checkpoints need less: the gradients are gone by then. Within a tenth of what runs took
// (docs/benchmarks/training-cpu.md).
int64_t training_bytes(const ModelPlan& plan, const MemoryShape& shape);

}  // namespace fathom::train
