// Who watches a training run: the progress on the terminal, the log of metrics, samples of text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/machine_limits.h"
#include "cli/run_log.h"
#include "train/loop.h"

namespace fathom::cli {

// A bar on a terminal, plain lines elsewhere. Speed and time left are of this process: what a resumed run did
// before does not count. A run that needs more memory than `available` is told so at its start. `clock`
// outlives the observer.
std::unique_ptr<train::TrainObserver> make_progress_observer(
    bool quiet, Clock& clock, std::optional<int64_t> available = available_memory());

// Text from the model every train.sample_every steps, through the engine. `config` outlives the observer.
// Errors: no such tokenizer, an empty prompt where the tokenizer has no token to start from.
Result<std::unique_ptr<train::TrainObserver>> make_sample_observer(const train::RunConfig& config);

// metrics.csv in the run's directory: the numbers as a table.
std::unique_ptr<train::TrainObserver> make_table_log(const std::string& directory);

// events.out.tfevents.* in the run's directory: the numbers for TensorBoard.
std::unique_ptr<train::TrainObserver> make_event_log(const std::string& directory);

// metrics.jsonl (one object a step, evaluation or checkpoint) and run.json in the run's directory.
class MetricsLog final : public train::TrainObserver {
 public:
  explicit MetricsLog(std::string directory) : directory_(std::move(directory)) {}
  void on_start(const train::RunSummary& summary) override;
  void on_step(const train::StepReport& report) override;
  void on_evaluation(const train::EvaluationReport& report) override;
  void on_checkpoint(int64_t step, const std::string& path) override;
  Status make_durable() override;
  Status status() const override { return status_; }

 private:
  Status open(const train::RunSummary& summary);
  void write(const std::string& line);
  std::string directory_;
  std::optional<RunLog> log_;
  std::vector<train::SourceSummary> sources_;
  Status status_;  // the first failure to write
};

}  // namespace fathom::cli
