// fathom-train run: one training run, with its watchers.
#include <atomic>
#include <iostream>
#include <memory>

#include "cli/stop_signal.h"
#include "cli/train_commands.h"
#include "cli/train_observers.h"
#include "train/loop.h"

namespace fathom::cli {

namespace {

// Until the run has begun there is nothing to finish: signals end the process as usual.
class StopAtSignal final : public train::TrainObserver {
 public:
  explicit StopAtSignal(std::atomic<bool>& stop) : stop_(stop) {}
  void on_start(const train::RunSummary& /*summary*/) override { catch_stop_signals(stop_); }

 private:
  std::atomic<bool>& stop_;
};

}  // namespace

Action declare_train_run(CLI::App& app) {
  struct Flags {
    std::string recipe, out;
    bool resume = false, allow_changes = false, quiet = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("RECIPE", flags->recipe, "the run as a TOML file")->required();
  app.add_option("--out", flags->out, "directory of the run")->required();
  CLI::Option* resume = app.add_flag("--resume", flags->resume,
                                     "go on from the last checkpoint; from the start if there is none");
  app.add_flag("--allow-changes", flags->allow_changes,
               "resume although the recipe differs from the checkpoint's")
      ->needs(resume);
  app.add_flag("--quiet,-q", flags->quiet, "no progress, only the result");
  app.allow_extras();
  return [flags, &app]() -> Result<int> {
    std::vector<std::string> overrides;
    for (const std::string& word : app.remaining()) {
      if (!word.starts_with("--") || word.find('=') == std::string::npos ||
          word.find('.') == std::string::npos) {
        std::cerr << "fathom train: unknown flag " << word
                  << ", expected --section.key=value or a flag of --help\n";
        return kExitUsage;
      }
      overrides.push_back(word.substr(2));
    }
    train::RunRequest request;
    FATHOM_ASSIGN(request.config, train::read_run_config(flags->recipe, overrides));
    request.directory = flags->out;
    request.resume = flags->resume;
    request.allow_changes = flags->allow_changes;
    static std::atomic<bool> stop{false};
    request.stop = &stop;
    StopAtSignal stop_at_signal(stop);
    const std::unique_ptr<train::TrainObserver> progress = make_progress_observer(flags->quiet);
    MetricsLog metrics(flags->out);
    const std::unique_ptr<train::TrainObserver> table = make_table_log(flags->out);
    const std::unique_ptr<train::TrainObserver> events = make_event_log(flags->out);
    const std::unique_ptr<train::TrainObserver> samples = make_sample_observer(request.config);
    request.observers = {&stop_at_signal, progress.get(), &metrics, table.get(), events.get(), samples.get()};
    FATHOM_TRY(train::run_training(request));
    return kExitOk;
  };
}

}  // namespace fathom::cli
