#include <nlohmann/json.hpp>

#include "base/isa.h"
#include "cli/train_observers.h"

#ifndef FATHOM_COMMIT
#error "the build defines FATHOM_COMMIT"
#endif

namespace fathom::cli {

namespace {

using Json = nlohmann::ordered_json;

// Lines of an earlier life of the run that lie behind the checkpoint it goes on from are dropped.
Result<std::string> lines_before(const std::string& path, int64_t step) {
  Result<std::string> text = read_file(path);
  if (!text.ok())
    return text.error().kind == ErrorKind::kNotFound ? Result<std::string>(std::string()) : text;
  std::string kept;
  size_t begin = 0;
  for (size_t end = text->find('\n'); end != std::string::npos; end = text->find('\n', begin)) {
    const std::string line = text->substr(begin, end - begin);
    begin = end + 1;
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.contains("step")) continue;
    const bool is_step = json.value("kind", "") == "step";
    if (json["step"].get<int64_t>() + (is_step ? 1 : 0) <= step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

void MetricsLog::on_start(const train::RunSummary& summary) {
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
  status_ = write_file_atomic(directory_ + "/run.json", run.dump(1) + "\n");
  const std::string path = directory_ + "/metrics.jsonl";
  Result<std::string> kept = lines_before(path, summary.first_step);
  if (status_.ok() && !kept.ok()) status_ = kept.error();
  if (!status_.ok()) return;
  status_ = write_file_atomic(path, *kept);
  if (!status_.ok()) return;
  Result<OutputFile> file = OutputFile::append(path);
  if (file.ok()) {
    file_ = std::move(file).value();
  } else {
    status_ = file.error();
  }
}

void MetricsLog::write(const std::string& line) {
  if (!file_ || !status_.ok()) return;
  status_ = file_->write(line + "\n");
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
    json["sampling_loss"] = report.sampling_loss;
    json["sampling_accuracy"] = report.sampling_accuracy;
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
                     {"mean_depth", report.mean_depth}};
  write(json.dump());
}

void MetricsLog::on_checkpoint(int64_t step, const std::string& path) {
  write(Json{{"kind", "checkpoint"}, {"step", step}, {"path", path}}.dump());
}

}  // namespace fathom::cli
