// How long a model trains for a budget of operations: the iso-FLOP comparison of Mixture-of-Recursions, by
// the accounting of its published step counts (section 6.4; paper_flops()) and its trapezoid (6.2).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

struct FlopBudget {
  double flops = 16.5e18;              // forward passes of all training tokens
  double smallest = 2e18;              // the budget of the study whose length sets the warm-up
  int64_t sequence_length = 2048;      // tokens of a row
  int64_t batch_tokens = 1024 * 2048;  // tokens of an optimizer step
};

struct BudgetedRun {
  double flops_per_token = 0;
  double exact_steps = 0;  // flops / (flops_per_token * batch_tokens)
  // exact_steps rounded to the nearest integer. The released configurations have these, but for one: 14161
  // of routed models with three recursions, whose exact number is 14160.01.
  int64_t steps = 0;
  // 5 % of the exact steps of the smallest budget (or of this one, if it is smaller), and 20 % of this run's
  // steps, rounded likewise.
  int64_t warmup_steps = 0, decay_steps = 0;
  int64_t tokens = 0;  // steps * batch_tokens
};

// Errors: layers that the accounting does not cover, a budget below half a step, more steps or tokens than
// 2^53.
Result<BudgetedRun> plan_budget(const ModelPlan& plan, const FlopBudget& budget);

}  // namespace fathom
