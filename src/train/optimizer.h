// AdamW over all parameters of a plan: which of them decay, whose learning rate the model's parametrisation
// multiplies (plan/scaling_study.h), and clipping at the norm of all gradients together. Auxiliary routers,
// which no gradient of the model reaches, are a group of their own: clipped apart, with ten times the
// learning rate (Mixture-of-Recursions 3.4).
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

// Whether AdamW decays a parameter of a model under a rule.
bool decays(DecayRule rule, const ModelSpec& spec, const Param& param);

enum class ParameterGroup : uint8_t { kModel, kAuxRouter };
ParameterGroup group_of(const Param& param);
// Times the schedule's learning rate.
double rate_of(ParameterGroup group);

// Norm of all gradients of a group together.
struct GradientNorms {
  double model = 0, aux_router = 0;
  double of(ParameterGroup group) const { return group == ParameterGroup::kModel ? model : aux_router; }
};

class Optimizer {
 public:
  // All three outlive the optimizer.
  Optimizer(const ModelPlan& plan, const OptimizerConfig& config, Parameters& parameters);

  OptimizerState& state() { return state_; }
  const OptimizerState& state() const { return state_; }

  // Before clipping.
  GradientNorms gradient_norms();
  // Update number `t` (from 1), with the gradients of each group scaled down so that their norm, now that of
  // `norms`, is at most the configuration's. Parameters without a gradient stay as they are.
  void update(int64_t t, double learning_rate, const GradientNorms& norms);

 private:
  std::vector<AdamWTensor> tensors(ParameterGroup group);

  const ModelPlan& plan_;
  const OptimizerConfig& config_;
  Parameters& parameters_;
  OptimizerState state_;
};

}  // namespace fathom::train
