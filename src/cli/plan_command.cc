// fathom plan: the layers of a model and what they cost, from its specification; of a model directory with
// weights, also which of them are tied.
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/flag_checks.h"
#include "cli/json_text.h"
#include "cli/model_specs.h"
#include "cli/run_memory.h"
#include "plan/describe.h"
#include "plan/model_plan.h"
#include "plan/scaling_study.h"
#include "plan/work.h"
#include "state/sequence_state.h"
#include "weights/model_source.h"
#include "weights/stored_ties.h"

namespace fathom::cli {

namespace {

struct PlanFlags {
  std::vector<std::string> specs;
  int64_t context = 0, chunk = 256;
  std::string kv_type = "bf16";
  bool json = false;
  bool params = false;
  bool tensors = false;
  bool iso_flops = false;
  bool study = false;
  FlopBudget budget;
};

// How long and how fast the scaling study of Decoder-Hybrid-Decoder trains each model.
Result<int> run_study(const PlanFlags& flags) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::string& name : flags.specs) {
    FATHOM_ASSIGN(const ModelSpec spec, find_spec(name));
    FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
    const Result<double> counted = study_parameters(spec);
    if (!counted.ok()) return at(name, counted.error());
    FATHOM_ASSIGN(const int64_t tokens, study_train_tokens(spec));
    const int64_t batch = StudyBase::kBatchTokens;
    const auto batch_tokens = static_cast<double>(batch);
    Param matrix;
    matrix.role = ParamRole::kMatrix;
    rows.push_back(
        {{"model", name},
         {"counted_parameters", *counted},
         {"tokens", tokens},
         {"batch_tokens", batch},
         {"steps", tokens / batch},
         {"warmup_steps", static_cast<int64_t>(StudyBase::kWarmupTokens / batch_tokens)},
         {"learning_rate", study_learning_rate(spec, StudyBase::kLearningRate, batch_tokens, batch_tokens)},
         {"matrix_rate", rate_multiplier(spec, matrix)}});
  }
  if (flags.json) {
    std::cout << json_text(rows, 2) << "\n";
    return kExitOk;
  }
  for (const auto& row : rows) {
    std::cout << std::setprecision(4) << row["model"].get<std::string>() << ": "
              << short_count(row["counted_parameters"]) << " parameters as the study counts them, "
              << short_count(row["tokens"]) << " tokens\n  " << row["steps"] << " steps of "
              << row["batch_tokens"] << " tokens, " << row["warmup_steps"] << " of warm-up, learning rate "
              << row["learning_rate"].get<double>() << ", of layer matrices times "
              << row["matrix_rate"].get<double>() << "\n";
  }
  return kExitOk;
}

// Models side by side at one budget.
Result<int> run_budget(const PlanFlags& flags) {
  std::vector<BudgetRow> rows;
  for (const std::string& name : flags.specs) {
    FATHOM_ASSIGN(const ModelSpec spec, find_spec(name));
    FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
    Result<BudgetedRun> run = plan_budget(plan, flags.budget);
    if (!run.ok()) return at(name, run.error());
    rows.push_back({name, count_parameters(plan), *run});
  }
  std::cout << (flags.json ? describe_budgets_json(flags.budget, rows)
                           : describe_budgets(flags.budget, rows));
  return kExitOk;
}

// What `fathom bench` divides by: bytes of the token that fills the context, decoded alone.
nlohmann::ordered_json decode_bytes(const ModelPlan& plan, int64_t context, const MatrixTypes& matrix_type,
                                    DType kv_type) {
  const DecodeBytes bytes = count_decode_bytes(plan, context - 1, context, matrix_type, kv_type);
  return {{"weights", bytes.weights()}, {"kv", bytes.kv}, {"state", bytes.state()}, {"total", bytes.total()}};
}

Result<int> run_plan(const PlanFlags& flags) {
  if (flags.iso_flops) return run_budget(flags);
  if (flags.study) return run_study(flags);
  if (flags.specs.size() > 1) {
    return wrong_usage(
        "plan: " + std::to_string(flags.specs.size()) +
        " specifications, expected one; with --iso-flops or --study several stand side by side");
  }
  const std::string& name = flags.specs.front();
  FATHOM_ASSIGN(ModelSpec spec, find_spec(name));
  std::shared_ptr<const WeightFiles> files;
  if (WeightFiles::are_in(name)) {
    FATHOM_ASSIGN(WeightFiles opened, WeightFiles::open(name));
    FATHOM_ASSIGN(spec, with_stored_ties(spec, opened));
    files = std::make_shared<const WeightFiles>(std::move(opened));
  }
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  if (flags.params || flags.tensors) {
    std::cout << (flags.params ? describe_params(plan) : describe_tensors(plan));
    return kExitOk;
  }
  const int64_t context = flags.context > 0 ? flags.context : plan.dims.max_positions;
  const DType kv_type = flags.kv_type == "f32" ? DType::kF32 : DType::kBF16;
  std::optional<MatrixTypes> stored;  // of the matrices, where there are any
  if (files != nullptr) {
    const auto holds = [&](const std::string& tensor) { return files->find(tensor) != nullptr; };
    stored = stored_matrix_types({plan, naming_of(plan, holds), files});
  }
  const int64_t bytes = state_bytes(plan, context, std::min(flags.chunk, context), kv_type);
  if (flags.json) {
    auto out = nlohmann::ordered_json::parse(describe_json(plan, context, kv_type));
    out["state_bytes"]["allocated"] = bytes;
    out["decode_bytes"] = decode_bytes(plan, context, stored.value_or(DType::kBF16), kv_type);
    if (stored) out["stored_dtype"] = name_of(*stored);
    std::cout << json_text(out, 2) << "\n";
  } else {
    std::cout << describe(plan, context, kv_type) << "allocated for one sequence of " << context
              << " tokens: " << bytes << " B, with calls of up to " << std::min(flags.chunk, context)
              << " rows\n";
    if (stored) std::cout << "matrices are stored in " << name_of(*stored) << "\n";
  }
  return kExitOk;
}

}  // namespace

Action declare_plan(CLI::App& app) {
  auto flags = std::make_shared<PlanFlags>();
  app.add_option("spec", flags->specs, "a TOML or JSON file, a model directory, or a built-in name")
      ->required();
  auto* chunk =
      app.add_option("--chunk,-b", flags->chunk, "most rows of a call, which rings of windows have room for")
          ->check(whole_number(1, kMostContext))
          ->capture_default_str();
  auto* context =
      app.add_option("--context,-c", flags->context, "tokens of a sequence (default: the model's longest)")
          ->check(whole_number(1, kMostContext));
  auto* kv_type = app.add_option("--kv-type", flags->kv_type, "type of cached keys and values")
                      ->check(CLI::IsMember({"bf16", "f32"}))
                      ->capture_default_str();
  auto* json = app.add_flag("--json", flags->json, "print the table as JSON");
  auto* params = app.add_flag("--params", flags->params, "list the parameters instead")->excludes(json);
  auto* tensors = app.add_flag("--tensors", flags->tensors, "list the tensors of a checkpoint instead")
                      ->excludes(json)
                      ->excludes(params);
  auto* study = app.add_flag("--study", flags->study,
                             "tokens, steps and learning rate that the scaling study gives the model instead")
                    ->excludes(params)
                    ->excludes(tensors);
  FlopBudget& budget = flags->budget;
  auto* iso = app.add_option("--iso-flops", budget.flops,
                             "steps that each model gets for this many operations of forward passes instead")
                  ->check(at_least(1))
                  ->excludes(params)
                  ->excludes(tensors)
                  ->excludes(study);
  app.add_option("--sequence-length", budget.sequence_length, "tokens of a training row")
      ->check(whole_number(1, kMostContext))
      ->needs(iso)
      ->capture_default_str();
  app.add_option("--batch-tokens", budget.batch_tokens, "tokens of an optimizer step")
      ->check(whole_number(1, int64_t{1} << 40))
      ->needs(iso)
      ->capture_default_str();
  app.add_option("--smallest-budget", budget.smallest, "the budget whose steps set the warm-up")
      ->check(at_least(1))
      ->needs(iso)
      ->capture_default_str();
  // What is shown instead of the table has no bytes of state.
  for (CLI::Option* of_state : {chunk, context, kv_type}) of_state->excludes(params, tensors, study, iso);
  return [flags, iso] {
    flags->iso_flops = iso->count() > 0;
    return run_plan(*flags);
  };
}

}  // namespace fathom::cli
