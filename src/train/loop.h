// A training run: data, forward and backward passes, AdamW, evaluation, checkpoints. Who watches is wired by
// the caller.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/executor.h"
#include "train/run_config.h"

namespace fathom::train {

struct StepReport {
  int64_t step = 0;  // from 0
  int64_t steps = 0;
  double loss = 0;        // language-model loss of the step, before its update
  double loss_total = 0;  // with the router's losses
  double sampling_loss = 0;
  double balancing_loss = 0;  // of token choice
  double z_loss = 0;
  // Health of routers, means over micro-batches, and over passes where there are several.
  double sampling_accuracy = 0;  // expert choice: see RoutedPass
  double sampling_overlap = 0;   // of an auxiliary router's own choice: see RoutedPass
  double violation = 0;          // token choice: see TokenChoice
  double entropy = 0;
  std::vector<double> kept;  // share of rows that made each pass
  double learning_rate = 0;
  double grad_norm = 0;      // before clipping
  double aux_grad_norm = 0;  // of auxiliary routers, which are clipped apart
  int64_t tokens = 0;        // since the start of training
  int64_t step_tokens = 0;
  std::vector<int64_t> source_tokens;  // of each source of the data, since the start of training
  double seconds = 0;                  // of this step
};

struct EvaluationReport {
  int64_t step = 0;  // steps done
  int64_t predictions = 0;
  double nll = 0;  // mean negative log-likelihood, routing as in training
  // With causal routing, by thresholds that were calibrated for this evaluation; equal to nll without a
  // router.
  double nll_threshold = 0;
  double mean_depth = 0;  // passes per token under causal routing; 0 without a router
  // Share of the places in a row from which no token made the last pass, routing as in training (the paper's
  // dead tokens); 0 without a router.
  double dead_share = 0;
};

// One source of the training data.
struct SourceSummary {
  std::string name;
  double share = 1;  // of the rows
  int64_t rows = 0, tokens = 0;
};

// What a run will need and is, before it starts.
struct RunSummary {
  const RunConfig* config = nullptr;
  const ModelPlan* plan = nullptr;
  std::string directory;
  int64_t parameters = 0;
  int64_t train_rows = 0, valid_rows = 0, train_tokens = 0;
  std::vector<SourceSummary> sources;
  // Rows that thresholds are calibrated on, of the validation data or, without that, the first that training
  // sees; 0: the model has no thresholds.
  int64_t calibration_rows = 0;
  int64_t memory_bytes = 0;  // estimate of what will be resident at the most
  int threads = 0;
  int64_t first_step = 0;  // not 0 when resumed
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_start(const RunSummary& /*summary*/) {}
  virtual void on_step(const StepReport& /*report*/) {}
  virtual void on_evaluation(const EvaluationReport& /*report*/) {}
  virtual void on_checkpoint(int64_t /*step*/, const std::string& /*path*/) {}
  // One sentence that the user should know and that does not end the run.
  virtual void on_notice(const std::string& /*sentence*/) {}
  // Before a checkpoint is written: what was reported up to here and is kept in a file must survive a crash.
  virtual Status make_durable() { return {}; }
  // Asked after every step: an error, such as a log that cannot be written, ends the run.
  virtual Status status() const { return {}; }
  // Every sample_every steps, with the parameters as they stand and thresholds calibrated for them.
  virtual void on_sample(int64_t /*step*/, const ModelPlan& /*plan*/, const Parameters& /*parameters*/) {}
};

struct RunRequest {
  RunConfig config;
  std::string directory;
  bool resume = false;         // from the last checkpoint in the directory; without one, from the start
  bool allow_changes = false;  // resume although the recipe differs from the checkpoint's
  std::vector<TrainObserver*> observers;  // not owned
  const std::atomic<bool>* stop =
      nullptr;  // set from outside: finish the step, write a checkpoint, return kCancelled
  // Not 0: a rehearsal of that many steps or, with -1, of none, at the capacities that the routers end with.
  // Nothing is evaluated, and nothing written but tokens of text, to `scratch`.
  int64_t rehearsal = 0;
  std::string scratch{};
};

// Runs to the end. Killed at any moment and resumed, it computes and reports what it would have without:
// every number but times, to the last bit, on as many threads of the same processor.
//
// Errors: a directory that holds another run or is in use by one, a checkpoint of another model, recipe or
// data, bad data, a loss that is no number, disk trouble (the last good checkpoint stays and is named);
// kCancelled when stopped.
Status run_training(const RunRequest& request);

}  // namespace fathom::train
