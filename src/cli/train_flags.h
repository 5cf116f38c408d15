// The flags of a training run, declared once: `fathom train` hands them on to `fathom-train run`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace fathom::cli {

struct TrainFlags {
  std::string recipe, out;  // `out` may be empty for a dry run
  bool resume = false, allow_changes = false, quiet = false, dry_run = false, no_timing = false;
};

// `flags` outlives the app. Keys of the recipe, --section.key=value, are what the app leaves over.
void declare_train_flags(CLI::App& app, TrainFlags& flags);

// The words that give `flags` again, without the keys of the recipe.
std::vector<std::string> words_of(const TrainFlags& flags);

}  // namespace fathom::cli
