// What `fathom plan` prints: the layers of a plan with what they cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/count.h"
#include "plan/iso_flops.h"
#include "plan/model_plan.h"

namespace fathom {

// A table of layers (number, kind, window, slots, parameters, FLOPs per token, state bytes) and the totals,
// at `context` tokens and with keys and values of type `kv_type`. A layer that runs at several depths is one
// row that adds them up.
std::string describe(const ModelPlan& plan, int64_t context, DType kv_type);

// The same figures as a JSON object.
std::string describe_json(const ModelPlan& plan, int64_t context, DType kv_type);

// One line per parameter: name, shape, elements, initialisation.
std::string describe_params(const ModelPlan& plan);

// One line per tensor of the checkpoint: name, shape, the parameters it is made of, aliases.
std::string describe_tensors(const ModelPlan& plan);

// A model that a budget is spent on.
struct BudgetRow {
  std::string name;
  ParameterCount parameters;
  BudgetedRun run;
};

// Models side by side at one budget: parameters, operations of a token, steps with warm-up and decay, tokens.
std::string describe_budgets(const FlopBudget& budget, const std::vector<BudgetRow>& rows);

// The same figures as a JSON object.
std::string describe_budgets_json(const FlopBudget& budget, const std::vector<BudgetRow>& rows);

}  // namespace fathom
