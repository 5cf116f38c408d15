#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "cli/metrics_table.h"
#include "cli/train_observers.h"
#include "cli/train_scalars.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// An observer of nothing but numbers.
class ScalarLog : public train::TrainObserver {
 public:
  explicit ScalarLog(std::string directory) : directory_(std::move(directory)) {}

  void on_start(const train::RunSummary& summary) final {
    sources_ = summary.sources;
    status_ = open(summary);
  }
  void on_step(const train::StepReport& report) final { add(report.step + 1, scalars_of(report, sources_)); }
  void on_evaluation(const train::EvaluationReport& report) final { add(report.step, scalars_of(report)); }
  Status make_durable() final {
    if (status_.ok()) status_ = sync();
    return status_;
  }
  Status status() const final { return status_; }

 protected:
  virtual Status open(const train::RunSummary& summary) = 0;
  virtual Status append(int64_t steps_done, const std::vector<EventScalar>& scalars) = 0;
  virtual Status sync() = 0;
  const std::string& directory() const { return directory_; }

 private:
  void add(int64_t steps_done, const std::vector<EventScalar>& scalars) {
    if (status_.ok()) status_ = append(steps_done, scalars);
  }
  std::string directory_;
  std::vector<train::SourceSummary> sources_;
  Status status_;
};

class TableLog final : public ScalarLog {
 public:
  using ScalarLog::ScalarLog;

 private:
  Status open(const train::RunSummary& summary) override {
    std::vector<std::string> columns;
    for (const std::string& tag : scalar_tags(summary)) columns.push_back(column_of(tag));
    FATHOM_ASSIGN(table_, MetricsTable::open(directory() + "/metrics.csv", summary.first_step, columns));
    return {};
  }
  Status append(int64_t steps_done, const std::vector<EventScalar>& scalars) override {
    return table_->append(steps_done, scalars);
  }
  Status sync() override { return table_->sync(); }
  std::optional<MetricsTable> table_;
};

// A file for each life of the run, as TensorBoard expects it; those of earlier lives are cut back to where
// this one goes on.
class EventLog final : public ScalarLog {
 public:
  using ScalarLog::ScalarLog;

 private:
  static std::optional<RunLog::Record> next_frame(std::string_view rest) {
    const std::optional<EventFrame> frame = read_event(rest);
    if (!frame) return std::nullopt;
    return RunLog::Record{frame->bytes, frame->step};
  }

  Status open(const train::RunSummary& summary) override {
    const std::string prefix = "events.out.tfevents.";
    for (const auto& entry : fs::directory_iterator(directory())) {
      if (!entry.path().filename().string().starts_with(prefix)) continue;
      const Result<uint64_t> kept = RunLog::cut(entry.path().string(), summary.first_step, next_frame);
      if (!kept.ok()) return kept.error();
    }
    const double now = wall_time();
    char host[256] = "localhost";
    ::gethostname(host, sizeof host - 1);
    FATHOM_ASSIGN(log_, RunLog::open(directory() + "/" + prefix + std::to_string(static_cast<int64_t>(now)) +
                                         "." + host + "." + std::to_string(::getpid()),
                                     summary.first_step, next_frame));
    FATHOM_TRY(log_->append(version_event(now)));
    if (summary.first_step == 0) return {};
    return log_->append(start_event(now, summary.first_step + 1));
  }
  Status append(int64_t steps_done, const std::vector<EventScalar>& scalars) override {
    return log_->append(scalar_event(wall_time(), steps_done, scalars));
  }
  Status sync() override { return log_->sync(); }
  std::optional<RunLog> log_;
};

}  // namespace

std::unique_ptr<train::TrainObserver> make_table_log(const std::string& directory) {
  return std::make_unique<TableLog>(directory);
}

std::unique_ptr<train::TrainObserver> make_event_log(const std::string& directory) {
  return std::make_unique<EventLog>(directory);
}

}  // namespace fathom::cli
