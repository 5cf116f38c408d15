#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/isa.h"
#include "cli/run_reader.h"
#include "cli/train_observers.h"
#include "cli/train_scalars.h"
#include "train/checkpoint.h"

#ifndef FATHOM_COMMIT
#error "the build defines FATHOM_COMMIT"
#endif

namespace fathom::cli {

namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Status MetricsLog::open(const train::RunSummary& summary) {
  sources_ = summary.sources;
  const Json run = {{"name", summary.config->name},
                    {"version", FATHOM_VERSION},
                    {"commit", FATHOM_COMMIT},
                    {"seed", summary.config->train.seed},
                    {"processor", processor_name()},
                    {"instruction_set", std::string(name_of(isa_level()))},
                    {"threads", summary.threads},
                    {"libtorch", "2.11.0"},
                    {"parameters", summary.parameters},
                    {"train_tokens", summary.train_tokens},
                    {"memory_estimate_bytes", summary.memory_bytes}};
  FATHOM_TRY(write_file_atomic(directory_ + "/run.json", run.dump(1) + "\n"));
  FATHOM_ASSIGN(log_, RunLog::open(directory_ + "/metrics.jsonl", summary.first_step, metrics_records()));
  return {};
}

void MetricsLog::on_start(const train::RunSummary& summary) {
  status_ = open(summary);
  if (summary.first_step > 0) on_checkpoint(summary.first_step, train::checkpoint_name(summary.first_step));
}

void MetricsLog::write(const std::string& line) {
  if (status_.ok()) status_ = log_->append(line + "\n");
}

void MetricsLog::on_step(const train::StepReport& report) {
  Json json = {{"kind", "step"},
               {"step", report.step},
               {"loss", report.loss},
               {"loss_total", report.loss_total},
               {"learning_rate", report.learning_rate},
               {"grad_norm", report.grad_norm},
               {"tokens", report.tokens},
               {"seconds", report.seconds}};
  if (!report.kept.empty()) {
    for (const auto& [name, value] : router_figures(report)) json[name] = value;
    json["kept"] = report.kept;
  }
  for (size_t i = 0; sources_.size() > 1 && i < sources_.size(); ++i)
    json["source_tokens"][sources_[i].name] = report.source_tokens[i];
  write(json.dump());
}

void MetricsLog::on_evaluation(const train::EvaluationReport& report) {
  const Json json = {{"kind", "evaluation"},
                     {"step", report.step},
                     {"predictions", report.predictions},
                     {"nll", report.nll},
                     {"nll_threshold", report.nll_threshold},
                     {"mean_depth", report.mean_depth},
                     {"dead_share", report.dead_share}};
  write(json.dump());
}

void MetricsLog::on_checkpoint(int64_t step, const std::string& path) {
  // The directory of a run may be moved.
  const std::string name = std::filesystem::path(path).filename().string();
  write(Json{{"kind", "checkpoint"}, {"step", step}, {"path", name}}.dump());
}

Status MetricsLog::make_durable() {
  if (status_.ok()) status_ = log_->sync();
  return status_;
}

}  // namespace fathom::cli
