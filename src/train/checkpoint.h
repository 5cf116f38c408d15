// Checkpoints of a run: a Hugging Face style model directory and, in the same directory, what the trainer
// needs to go on (trainer.json, trainer.safetensors). A checkpoint is visible complete or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/row_mixture.h"
#include "plan/model_plan.h"
#include "train/optimizer.h"
#include "train/parameters.h"
#include "train/run_data.h"

namespace fathom::train {

// Where a run stands after `step` optimizer steps.
struct TrainerState {
  int64_t step = 0;
  int64_t tokens = 0;
  int64_t forward_calls = 0;  // for the capacity warm-up
  int threads = 0;
  MixtureState data;
};

constexpr int kTrainerFormatVersion = 1;

// "checkpoint-200".
std::string checkpoint_name(int64_t step);
// Steps of the checkpoints in a run's directory, ascending.
std::vector<int64_t> list_checkpoints(const std::string& directory);

Status write_checkpoint(const std::string& path, const ModelPlan& plan, const Parameters& parameters,
                        const OptimizerState& optimizer, const TrainerState& state, const RunData& data);
Status read_checkpoint(const std::string& path, const ModelPlan& plan, Parameters& parameters,
                       OptimizerState& optimizer, TrainerState& state);
// Removes all but the last `keep`.
Status prune_checkpoints(const std::string& directory, int64_t keep);

}  // namespace fathom::train
