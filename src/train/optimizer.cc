#include "train/optimizer.h"

#include <utility>

#include "plan/scaling_study.h"
#include "train/op_profile.h"
#include "train/torch_parallel.h"
#include "weights/checkpoint.h"

namespace fathom::train {

OptimizerState::OptimizerState(const ModelPlan& plan) {
  for (const Param& param : plan.params) {
    first.emplace_back(static_cast<size_t>(elements_of(param)));
    second.emplace_back(static_cast<size_t>(elements_of(param)));
  }
}

bool decays(DecayRule rule, const ModelSpec& spec, const Param& param) {
  if (rule == DecayRule::kAll) return true;
  if (rule == DecayRule::kParametrisation) return decays_by_parametrisation(spec, param);
  return is_matrix(param.role) || param.role == ParamRole::kEmbedding || param.role == ParamRole::kHead ||
         param.role == ParamRole::kRouter || param.role == ParamRole::kAuxRouter ||
         param.role == ParamRole::kRelaxation;
}

ParameterGroup group_of(const Param& param) {
  return param.role == ParamRole::kAuxRouter ? ParameterGroup::kAuxRouter : ParameterGroup::kModel;
}

double rate_of(ParameterGroup group) { return group == ParameterGroup::kAuxRouter ? 10.0 : 1.0; }

Optimizer::Optimizer(const ModelPlan& plan, const OptimizerConfig& config, Parameters& parameters)
    : plan_(plan), config_(config), parameters_(parameters), state_(plan) {}

std::vector<AdamWTensor> Optimizer::tensors(ParameterGroup group) {
  std::vector<AdamWTensor> all;
  for (size_t p = 0; p < plan_.params.size(); ++p) {
    const Param& param = plan_.params[p];
    if (group_of(param) != group) continue;
    const auto index = static_cast<int32_t>(p);
    const std::span<float> values = parameters_.values(index);
    const std::span<const float> gradient = std::as_const(parameters_).gradient(index);
    all.push_back({.param = values.data(),
                   .grad = gradient.empty() ? nullptr : gradient.data(),
                   .first_moment = state_.first[p].data(),
                   .second_moment = state_.second[p].data(),
                   .count = static_cast<int64_t>(values.size()),
                   .learning_rate = rate_multiplier(plan_.spec, param),
                   .weight_decay = decays(config_.decay, plan_.spec, param) ? config_.weight_decay : 0.0});
  }
  return all;
}

GradientNorms Optimizer::gradient_norms() {
  const OpTimer timer("gradient_norm", OpPass::kUpdate);
  return {.model = global_norm(tensors(ParameterGroup::kModel), torch_parallel()),
          .aux_router = global_norm(tensors(ParameterGroup::kAuxRouter), torch_parallel())};
}

void Optimizer::update(int64_t t, double learning_rate, const GradientNorms& norms) {
  const OpTimer timer("adamw", OpPass::kUpdate);
  const AdamWSettings settings{config_.beta1, config_.beta2, config_.eps};
  for (ParameterGroup group : {ParameterGroup::kModel, ParameterGroup::kAuxRouter}) {
    const auto scale = static_cast<float>(clip_scale(norms.of(group), config_.clip));
    for (AdamWTensor& tensor : tensors(group)) {
      tensor.learning_rate *= learning_rate * rate_of(group);
      tensor.grad_scale = scale;
      adamw_update(tensor, settings, t, torch_parallel());
    }
  }
}

}  // namespace fathom::train
