// How a run takes up its directory: alone, without what a killed one left behind, and only where a checkpoint
// belongs to it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/directory_lock.h"
#include "base/result.h"
#include "train/checkpoint.h"
#include "train/run_config.h"

namespace fathom::train {

// The resolved configuration as JSON, as trainer.json holds it: an object for each table.
nlohmann::json recipe_of(const RunConfig& config);

// Only one training at a time may have `directory`. Waits some seconds for a killed one to be gone. Errors:
// kNotSupported where the file system has no locks.
Result<DirectoryLock> lock_run(const std::string& directory);

// Temporary files and directories in a run's directory, whose lock the caller holds.
Status remove_leftovers(const std::string& directory);

struct Resumption {
  std::string path;  // of the checkpoint
  TrainerState state;
};

// The last checkpoint in the directory, if there is one.
Result<std::optional<Resumption>> find_resumption(const std::string& directory);

// Refuses a checkpoint of another model by the field that differs, and one of another recipe by the key,
// unless `allow_changes`. Keys that do not touch what a step computes (how many steps, what is logged and
// saved, where files lie) may always differ.
Status check_belongs(const Resumption& resumption, const RunConfig& config, const ModelPlan& plan,
                     bool allow_changes);

}  // namespace fathom::train
