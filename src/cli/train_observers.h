// Who watches a training run: the progress on the terminal, the log of metrics, samples of text.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "train/loop.h"

namespace fathom::cli {

// A bar on a terminal, plain lines elsewhere.
std::unique_ptr<train::TrainObserver> make_progress_observer(bool quiet);

// Text from the model every train.sample_every steps, through the engine.
std::unique_ptr<train::TrainObserver> make_sample_observer(const train::RunConfig& config);

// An observer that writes a file.
class LogObserver : public train::TrainObserver {
 public:
  // The first failure to write, if any.
  virtual Status status() const = 0;
};

// metrics.csv in the run's directory: the numbers as a table.
std::unique_ptr<LogObserver> make_table_log(const std::string& directory);

// events.out.tfevents.* in the run's directory: the numbers for TensorBoard.
std::unique_ptr<LogObserver> make_event_log(const std::string& directory);

// metrics.jsonl (one object a step, evaluation or checkpoint) and run.json in the run's directory.
class MetricsLog final : public LogObserver {
 public:
  explicit MetricsLog(std::string directory) : directory_(std::move(directory)) {}
  void on_start(const train::RunSummary& summary) override;
  void on_step(const train::StepReport& report) override;
  void on_evaluation(const train::EvaluationReport& report) override;
  void on_checkpoint(int64_t step, const std::string& path) override;
  Status status() const override { return status_; }

 private:
  void write(const std::string& line);
  std::string directory_;
  std::optional<OutputFile> file_;
  std::vector<train::SourceSummary> sources_;
  Status status_;
};

}  // namespace fathom::cli
