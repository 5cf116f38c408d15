// fathom-train run: one training run, with its watchers.
#include <atomic>
#include <iostream>
#include <memory>

#include "cli/dry_run.h"
#include "cli/stop_signal.h"
#include "cli/train_commands.h"
#include "cli/train_flags.h"
#include "cli/train_observers.h"
#include "train/loop.h"

namespace fathom::cli {

namespace {

// Until the run has begun there is nothing to finish: signals end the process as usual.
class StopAtSignal final : public train::TrainObserver {
 public:
  explicit StopAtSignal(std::atomic<bool>& stop) : stop_(stop) {}
  void on_start(const train::RunSummary& /*summary*/) override {
    catch_stop_signals(stop_, "this step is finished and a checkpoint written");
  }

 private:
  std::atomic<bool>& stop_;
};

// What the recipe alone is not refused for, the flags are.
Result<train::RunConfig> read_config(const std::string& recipe, const std::vector<std::string>& overrides) {
  Result<train::RunConfig> config = train::read_run_config(recipe, overrides);
  if (config.ok() || config.error().kind != ErrorKind::kInvalid) return config;
  const Result<train::RunConfig> alone = train::read_run_config(recipe, {});
  if (!alone.ok() && alone.error().message == config.error().message) return config;
  return wrong_usage(config.error().message);
}

}  // namespace

Action declare_train_run(CLI::App& app) {
  auto flags = std::make_shared<TrainFlags>();
  declare_train_flags(app, *flags);
  return [flags, &app]() -> Result<int> {
    if (flags->out.empty() && !flags->dry_run) {
      std::cerr << "fathom train: --out is required: the directory of the run\n";
      return kExitUsage;
    }
    std::vector<std::string> overrides;
    for (const std::string& word : app.remaining()) {
      if (!word.starts_with("--") || word.find('=') == std::string::npos) {
        std::cerr << "fathom train: unknown flag " << word
                  << ", expected --section.key=value, --key=value or a flag of --help\n";
        return kExitUsage;
      }
      overrides.push_back(word.substr(2));
    }
    train::RunRequest request;
    FATHOM_ASSIGN(request.config, read_config(flags->recipe, overrides));
    request.directory = flags->out;
    request.resume = flags->resume;
    request.allow_changes = flags->allow_changes;
    std::unique_ptr<train::TrainObserver> samples;
    if (request.config.train.sample_every > 0) {
      FATHOM_ASSIGN(samples, make_sample_observer(request.config));
    }
    if (flags->dry_run) return dry_run(request, !flags->no_timing);
    static std::atomic<bool> stop{false};
    request.stop = &stop;
    StopAtSignal stop_at_signal(stop);
    SteadyClock clock;
    const std::unique_ptr<train::TrainObserver> progress = make_progress_observer(flags->quiet, clock);
    MetricsLog metrics(flags->out);
    const std::unique_ptr<train::TrainObserver> table = make_table_log(flags->out);
    const std::unique_ptr<train::TrainObserver> events = make_event_log(flags->out);
    request.observers = {&stop_at_signal, progress.get(), &metrics, table.get(), events.get()};
    if (samples) request.observers.push_back(samples.get());
    FATHOM_TRY(train::run_training(request));
    return kExitOk;
  };
}

}  // namespace fathom::cli
