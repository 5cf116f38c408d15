#include "plan/iso_flops.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "plan/count.h"

namespace fathom {

namespace {

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

}  // namespace

Result<BudgetedRun> plan_budget(const ModelPlan& plan, const FlopBudget& budget) {
  // Whole numbers up to here are exact in double.
  constexpr double kMost = 0x1p53;
  if (!paper_flops_apply(plan)) {
    return invalid(
        "the accounting of iso-FLOP budgets covers layers of full self-attention, found another kind");
  }
  BudgetedRun run;
  run.flops_per_token = paper_flops(plan, budget.sequence_length);
  const double per_step = run.flops_per_token * static_cast<double>(budget.batch_tokens);
  run.exact_steps = budget.flops / per_step;
  if (run.exact_steps < 0.5) {
    return invalid("a budget of " + text(budget.flops) + " operations makes no step of " + text(per_step) +
                   ", expected at least half of one");
  }
  if (run.exact_steps * static_cast<double>(budget.batch_tokens) > kMost)
    return invalid("a budget of " + text(budget.flops) + " operations is more than 2^53 tokens");
  run.steps = std::llround(run.exact_steps);
  run.warmup_steps = std::llround(0.05 * std::min(budget.smallest, budget.flops) / per_step);
  run.decay_steps = std::llround(0.2 * static_cast<double>(run.steps));
  run.tokens = run.steps * budget.batch_tokens;
  return run;
}

}  // namespace fathom
