// Checkpoints of a run: a Hugging Face style model directory and, in the same directory, what the trainer
// needs to go on (trainer.json, trainer.safetensors). A checkpoint is visible complete or not at all. Field
// by field: docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/row_mixture.h"
#include "plan/model_plan.h"
#include "train/optimizer.h"
#include "train/parameters.h"
#include "train/run_data.h"

namespace fathom::train {

// Where a run stands after `step` optimizer steps. There is no state of a random generator: every random
// number is a function of the seed and of these counters.
struct TrainerState {
  int64_t step = 0;
  int64_t tokens = 0;
  int64_t forward_calls = 0;  // for the capacity warm-up
  int threads = 0;            // of the run: going on takes as many
  std::string instruction_set;
  MixtureState data;
  std::string valid_data;  // fingerprint of the validation rows; empty without
  nlohmann::json recipe;   // the run's configuration, see recipe_of()
};

constexpr int kTrainerFormatVersion = 2;

// "checkpoint-200".
std::string checkpoint_name(int64_t step);
// Steps of the checkpoints in a run's directory, ascending.
std::vector<int64_t> list_checkpoints(const std::string& directory);

// Copies no parameter and no moment that a tensor of the checkpoint is by itself.
Status write_checkpoint(const std::string& path, const ModelPlan& plan, const Parameters& parameters,
                        const OptimizerState& optimizer, const TrainerState& state, const RunData& data);
// trainer.json alone.
Result<TrainerState> read_trainer_state(const std::string& path);
// Parameters and moments; the checkpoint's tensors must have the plan's shapes.
Status read_checkpoint_tensors(const std::string& path, const ModelPlan& plan, Parameters& parameters,
                               OptimizerState& optimizer);
// Removes all but the last `keep`, the oldest first. None is ever seen in part.
Status prune_checkpoints(const std::string& directory, int64_t keep);

}  // namespace fathom::train
