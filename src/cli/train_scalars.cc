#include "cli/train_scalars.h"

#include <algorithm>

namespace fathom::cli {

std::vector<std::pair<std::string, double>> router_figures(const train::StepReport& report) {
  return {{"sampling_loss", report.sampling_loss},
          {"sampling_accuracy", report.sampling_accuracy},
          {"sampling_overlap", report.sampling_overlap},
          {"aux_grad_norm", report.aux_grad_norm},
          {"balancing_loss", report.balancing_loss},
          {"z_loss", report.z_loss},
          {"violation", report.violation},
          {"entropy", report.entropy}};
}

std::vector<EventScalar> scalars_of(const train::StepReport& report,
                                    const std::vector<train::SourceSummary>& sources) {
  std::vector<EventScalar> scalars = {
      {"train/loss", report.loss},
      {"train/loss_total", report.loss_total},
      {"train/grad_norm", report.grad_norm},
      {"train/learning_rate", report.learning_rate},
      {"train/tokens", static_cast<double>(report.tokens)},
      {"train/tokens_per_second", static_cast<double>(report.step_tokens) / std::max(1e-9, report.seconds)},
      {"train/seconds", report.seconds}};
  if (!report.kept.empty()) {
    for (const auto& [name, value] : router_figures(report)) scalars.push_back({"router/" + name, value});
    for (size_t r = 0; r < report.kept.size(); ++r)
      scalars.push_back({"router/kept_" + std::to_string(r + 1), report.kept[r]});
  }
  for (size_t i = 0; sources.size() > 1 && i < report.source_tokens.size(); ++i)
    scalars.push_back({"data/tokens_" + sources[i].name, static_cast<double>(report.source_tokens[i])});
  return scalars;
}

std::vector<EventScalar> scalars_of(const train::EvaluationReport& report) {
  std::vector<EventScalar> scalars = {{"validation/nll", report.nll}};
  if (report.mean_depth > 0) {
    scalars.push_back({"validation/nll_threshold", report.nll_threshold});
    scalars.push_back({"validation/mean_depth", report.mean_depth});
    scalars.push_back({"validation/dead_share", report.dead_share});
  }
  return scalars;
}

std::vector<std::string> scalar_tags(const train::RunSummary& summary) {
  train::StepReport step;
  train::EvaluationReport evaluation;
  for (const Segment& segment : summary.plan->segments) {
    if (!segment.router) continue;
    step.kept.resize(static_cast<size_t>(segment.repeat));
    evaluation.mean_depth = 1;
  }
  std::vector<std::string> tags;
  step.source_tokens.resize(summary.sources.size());
  for (const EventScalar& scalar : scalars_of(step, summary.sources)) tags.push_back(scalar.tag);
  if (summary.valid_rows > 0) {
    for (const EventScalar& scalar : scalars_of(evaluation)) tags.push_back(scalar.tag);
  }
  return tags;
}

}  // namespace fathom::cli
