#include "cli/train_flags.h"

namespace fathom::cli {

void declare_train_flags(CLI::App& app, TrainFlags& flags) {
  app.add_option("RECIPE", flags.recipe, "the run as a TOML file (configs/recipes/)")->required();
  app.add_option("--out,-o", flags.out, "directory of the run");
  CLI::Option* resume = app.add_flag("--resume", flags.resume,
                                     "go on from the last checkpoint; from the start if there is none");
  app.add_flag("--allow-changes", flags.allow_changes,
               "resume although the recipe differs from the checkpoint's")
      ->needs(resume);
  app.add_flag("--quiet,-q", flags.quiet, "no progress");
  CLI::Option* dry =
      app.add_flag("--dry-run", flags.dry_run, "say what the run is and needs, and write nothing");
  app.add_flag("--no-timing", flags.no_timing, "with --dry-run: without the few steps that are timed")
      ->needs(dry);
  app.footer("Any key of the recipe can be given as --section.key=value.");
  app.allow_extras();
}

std::vector<std::string> words_of(const TrainFlags& flags) {
  std::vector<std::string> words = {flags.recipe};
  if (!flags.out.empty()) words.insert(words.end(), {"--out", flags.out});
  if (flags.resume) words.emplace_back("--resume");
  if (flags.allow_changes) words.emplace_back("--allow-changes");
  if (flags.quiet) words.emplace_back("--quiet");
  if (flags.dry_run) words.emplace_back("--dry-run");
  if (flags.no_timing) words.emplace_back("--no-timing");
  return words;
}

}  // namespace fathom::cli
