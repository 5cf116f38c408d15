#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>

#include "cli/bar_line.h"
#include "cli/figures.h"
#include "cli/train_observers.h"

namespace fathom::cli {

namespace {

size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string percent(double share, int digits = 0) { return rounded(100 * share, digits) + " %"; }

// "100/67/33 %".
std::string percents(const std::vector<double>& shares) {
  std::string text;
  for (double share : shares) text.append(text.empty() ? "" : "/").append(rounded(100 * share, 0));
  return text + " %";
}

// How routers do, in parts of a line. Expert choice: how often a score at one half says what was decided, of
// what was kept how much an auxiliary router's own top k has, and the share of rows that made each pass.
// Token choice: the share of rows that took each depth, how far the fullest is above its share (MaxVio), and
// the entropy of the scores.
std::vector<std::string> router_parts(const RouterSpec& router, size_t passes,
                                      const train::StepReport& report) {
  std::vector<double> kept = report.kept;
  kept.resize(passes + 1);
  if (router.kind == RouterKind::kTokenChoice) {
    std::vector<double> load;
    for (size_t r = 0; r < passes; ++r) load.push_back(kept[r] - kept[r + 1]);
    return {"load " + percents(load), "MaxVio " + rounded(report.violation, 2),
            "entropy " + rounded(report.entropy, 2)};
  }
  kept.pop_back();
  std::vector<std::string> parts = {"router " + percent(report.sampling_accuracy, 1)};
  if (router.loss == RouterLoss::kAuxRouter) parts.push_back("top-k " + percent(report.sampling_overlap));
  parts.push_back("kept " + percents(kept));
  return parts;
}

class Progress final : public train::TrainObserver {
 public:
  Progress(bool quiet, Clock& clock, std::optional<int64_t> available)
      : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) != 0), available_(available), clock_(clock) {}

  void on_start(const train::RunSummary& summary) override {
    steps_ = summary.config->train.steps;
    log_every_ = summary.config->train.log_every;
    first_step_ = summary.first_step;
    plan_ = summary.plan;
    tokens_ = 0;
    start_ = clock_.seconds();
    if (available_ && summary.memory_bytes > *available_) {
      on_notice(summary.config->name + " needs about " + std::to_string(summary.memory_bytes >> 20) +
                " MiB of memory, but " + std::to_string(*available_ >> 20) +
                " MiB are free; fewer train.rows with more train.accumulation need less, and so does "
                "train.gradient_checkpointing");
    }
    if (quiet_) return;
    std::cerr << summary.config->name << ": " << short_count(static_cast<double>(summary.parameters))
              << " parameters, " << short_count(static_cast<double>(summary.train_tokens))
              << " training tokens in " << summary.train_rows << " rows, " << summary.threads
              << " threads, about " << rounded(static_cast<double>(summary.memory_bytes) / (1 << 20), 0)
              << " MiB of memory";
    if (first_step_ >= steps_) std::cerr << ", complete at step " << first_step_;
    if (first_step_ > 0 && first_step_ < steps_) std::cerr << ", going on at step " << first_step_;
    std::cerr << "\n";
    if (summary.calibration_rows > 0) {
      std::cerr << "  thresholds of causal routing: calibrated at evaluations and checkpoints, on "
                << summary.calibration_rows
                << (summary.valid_rows > 0 ? " validation rows\n"
                                           : " training rows, as there is no validation data\n");
    }
    if (summary.sources.size() < 2) return;
    for (const train::SourceSummary& source : summary.sources) {
      std::cerr << "  " << rounded(100 * source.share, 2) << " % " << source.name << ": "
                << short_count(static_cast<double>(source.tokens)) << " tokens in " << source.rows
                << " rows\n";
    }
  }

  void on_step(const train::StepReport& report) override {
    if (quiet_) return;
    const int64_t done = report.step + 1;
    const double now = clock_.seconds();
    tokens_ += report.step_tokens;
    const double elapsed = now - start_;
    const double left =
        elapsed / static_cast<double>(done - first_step_) * static_cast<double>(steps_ - done);
    const double rate = static_cast<double>(tokens_) / std::max(1e-9, elapsed);
    std::vector<std::string> parts = {
        "step " + std::to_string(done) + "/" + std::to_string(steps_), "loss " + rounded(report.loss, 4),
        "norm " + rounded(report.grad_norm, 2), short_count(rate) + " tokens/s", duration(left) + " left"};
    for (const Segment& segment : plan_->segments) {
      if (!segment.router) continue;
      for (std::string& part :
           router_parts(segment.router->spec, static_cast<size_t>(segment.repeat), report))
        parts.push_back(std::move(part));
    }
    if (terminal_) {
      if (now - last_drawn_ < 0.1 && done < steps_) return;
      last_drawn_ = now;
      // The last column stays free: behind it a terminal begins a line that could not be drawn over.
      const double share = static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, steps_));
      std::cerr << "\r\033[K" << bar_line(share, parts, terminal_columns() - 1) << std::flush;
      drawn_ = true;
    } else if (done % std::max(log_every_, steps_ / 20) == 0 || done == steps_ ||
               report.step == first_step_) {
      for (const std::string& part : parts) std::cerr << (&part == parts.data() ? "" : "  ") << part;
      std::cerr << "\n";
    }
  }

  void on_evaluation(const train::EvaluationReport& report) override {
    if (quiet_) return;
    end_bar();
    std::cerr << "after " << report.step << " steps: validation loss " << rounded(report.nll, 4);
    if (report.mean_depth > 0) {
      std::cerr << " (causal routing " << rounded(report.nll_threshold, 4) << ", mean depth "
                << rounded(report.mean_depth, 2) << ", dead " << percent(report.dead_share, 1) << ")";
    }
    std::cerr << " over " << report.predictions << " predictions\n";
  }

  void on_notice(const std::string& sentence) override {
    end_bar();
    std::cerr << "fathom-train: " << sentence << "\n";
  }

  void on_checkpoint(int64_t /*step*/, const std::string& path) override {
    if (quiet_) return;
    end_bar();
    std::cerr << "saved " << path << "\n";
  }

 private:
  void end_bar() {
    if (drawn_) std::cerr << "\n";
    drawn_ = false;
  }

  bool quiet_, terminal_, drawn_ = false;
  std::optional<int64_t> available_;
  Clock& clock_;
  double start_ = 0, last_drawn_ = -1;
  const ModelPlan* plan_ = nullptr;  // the run's
  int64_t steps_ = 0, log_every_ = 1, first_step_ = 0;
  int64_t tokens_ = 0;  // seen since on_start(), which a resumed run calls at its first step
};

}  // namespace

std::unique_ptr<train::TrainObserver> make_progress_observer(bool quiet, Clock& clock,
                                                             std::optional<int64_t> available) {
  return std::make_unique<Progress>(quiet, clock, available);
}

}  // namespace fathom::cli
