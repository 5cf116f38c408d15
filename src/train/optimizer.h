// AdamW over all parameters of a plan: which of them decay, and clipping at the norm of all gradients
// together.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/model_plan.h"
#include "train/adamw.h"
#include "train/parameters.h"
#include "train/run_config.h"

namespace fathom::train {

// Moments of AdamW, by parameter.
struct OptimizerState {
  std::vector<std::vector<float>> first, second;
  explicit OptimizerState(const ModelPlan& plan);
};

// Whether AdamW decays a parameter under a rule.
bool decays(DecayRule rule, const Param& param);

class Optimizer {
 public:
  // All three outlive the optimizer.
  Optimizer(const ModelPlan& plan, const OptimizerConfig& config, Parameters& parameters);

  OptimizerState& state() { return state_; }
  const OptimizerState& state() const { return state_; }

  // Norm of all gradients together, before clipping.
  double gradient_norm();
  // Update number `t` (from 1), with the gradients scaled down so that their norm, now `gradient_norm`, is at
  // most the configuration's. Parameters without a gradient stay as they are.
  void update(int64_t t, double learning_rate, double gradient_norm);

 private:
  std::vector<AdamWTensor> tensors();

  const ModelPlan& plan_;
  const OptimizerConfig& config_;
  Parameters& parameters_;
  OptimizerState state_;
};

}  // namespace fathom::train
