// fathom train: becomes fathom-train, which does the work.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/trainer_process.h"

namespace fathom::cli {

Action declare_train(CLI::App& app) {
  struct Flags {
    std::string recipe, out;
    bool resume = false, allow_changes = false, quiet = false, dry_run = false, no_timing = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("RECIPE", flags->recipe, "the run as a TOML file (configs/recipes/)")->required();
  app.add_option("--out", flags->out, "directory of the run");
  CLI::Option* resume = app.add_flag("--resume", flags->resume,
                                     "go on from the last checkpoint; from the start if there is none");
  app.add_flag("--allow-changes", flags->allow_changes,
               "resume although the recipe differs from the checkpoint's")
      ->needs(resume);
  app.add_flag("--quiet,-q", flags->quiet, "no progress");
  auto* dry = app.add_flag("--dry-run", flags->dry_run, "say what the run is and needs, and write nothing");
  app.add_flag("--no-timing", flags->no_timing, "with --dry-run: without the few steps that are timed")
      ->needs(dry);
  app.footer("Any key of the recipe can be given as --section.key=value.");
  app.allow_extras();
  return [flags, &app]() -> Result<int> {
    const Result<std::string> trainer = find_trainer();
    if (!trainer.ok()) {
      std::cerr << "fathom: " << trainer.error().message << "\n";
      return kExitNoTrainer;
    }
    std::vector<std::string> arguments = {"run", flags->recipe};
    if (!flags->out.empty()) arguments.insert(arguments.end(), {"--out", flags->out});
    if (flags->dry_run) arguments.push_back("--dry-run");
    if (flags->no_timing) arguments.push_back("--no-timing");
    if (flags->resume) arguments.push_back("--resume");
    if (flags->allow_changes) arguments.push_back("--allow-changes");
    if (flags->quiet) arguments.push_back("--quiet");
    for (const std::string& word : app.remaining()) arguments.push_back(word);
    return become_trainer(*trainer, arguments);
  };
}

}  // namespace fathom::cli
