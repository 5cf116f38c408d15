// fathom plan: the layers of a model and what they cost, from its specification; of a model directory with
// weights, also which of them are tied.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/model_specs.h"
#include "plan/describe.h"
#include "plan/model_plan.h"
#include "weights/stored_ties.h"

namespace fathom::cli {

namespace {

struct PlanFlags {
  std::string spec;
  int64_t context = 0;
  std::string kv_type = "bf16";
  bool json = false;
  bool params = false;
  bool tensors = false;
};

Result<int> run_plan(const PlanFlags& flags) {
  FATHOM_ASSIGN(ModelSpec spec, find_spec(flags.spec));
  if (WeightFiles::are_in(flags.spec)) {
    FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(flags.spec));
    FATHOM_ASSIGN(spec, with_stored_ties(spec, files));
  }
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  if (flags.params || flags.tensors) {
    std::cout << (flags.params ? describe_params(plan) : describe_tensors(plan));
    return kExitOk;
  }
  const int64_t context = flags.context > 0 ? flags.context : plan.dims.max_positions;
  const DType kv_type = flags.kv_type == "f32" ? DType::kF32 : DType::kBF16;
  std::cout << (flags.json ? describe_json(plan, context, kv_type) : describe(plan, context, kv_type));
  return kExitOk;
}

}  // namespace

Action declare_plan(CLI::App& app) {
  auto flags = std::make_shared<PlanFlags>();
  app.add_option("spec", flags->spec, "a TOML or JSON file, a model directory, or a built-in name")
      ->required();
  app.add_option("--context", flags->context, "tokens of a sequence (default: the model's longest)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  app.add_option("--kv-type", flags->kv_type, "type of cached keys and values")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  auto* json = app.add_flag("--json", flags->json, "print the table as JSON");
  auto* params = app.add_flag("--params", flags->params, "list the parameters instead")->excludes(json);
  app.add_flag("--tensors", flags->tensors, "list the tensors of a checkpoint instead")
      ->excludes(json)
      ->excludes(params);
  return [flags] { return run_plan(*flags); };
}

}  // namespace fathom::cli
