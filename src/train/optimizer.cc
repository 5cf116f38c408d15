#include "train/optimizer.h"

#include <utility>

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

bool decays(DecayRule rule, const Param& param) {
  if (rule == DecayRule::kAll) return true;
  return param.role == ParamRole::kMatrix || param.role == ParamRole::kEmbedding ||
         param.role == ParamRole::kHead || param.role == ParamRole::kRouter ||
         param.role == ParamRole::kRelaxation;
}

Optimizer::Optimizer(const ModelPlan& plan, const OptimizerConfig& config, Parameters& parameters)
    : plan_(plan), config_(config), parameters_(parameters), state_(plan) {}

std::vector<AdamWTensor> Optimizer::tensors() {
  std::vector<AdamWTensor> all;
  for (size_t p = 0; p < plan_.params.size(); ++p) {
    const auto index = static_cast<int32_t>(p);
    const std::span<float> values = parameters_.values(index);
    const std::span<const float> gradient = std::as_const(parameters_).gradient(index);
    all.push_back({.param = values.data(),
                   .grad = gradient.empty() ? nullptr : gradient.data(),
                   .first_moment = state_.first[p].data(),
                   .second_moment = state_.second[p].data(),
                   .count = static_cast<int64_t>(values.size()),
                   .weight_decay = decays(config_.decay, plan_.params[p]) ? config_.weight_decay : 0.0});
  }
  return all;
}

double Optimizer::gradient_norm() {
  const OpTimer timer("gradient_norm", OpPass::kUpdate);
  return global_norm(tensors(), torch_parallel());
}

void Optimizer::update(int64_t t, double learning_rate, double gradient_norm) {
  const OpTimer timer("adamw", OpPass::kUpdate);
  const auto scale = static_cast<float>(clip_scale(gradient_norm, config_.clip));
  const AdamWSettings settings{config_.beta1, config_.beta2, config_.eps};
  for (AdamWTensor& tensor : tensors()) {
    tensor.learning_rate = learning_rate;
    tensor.grad_scale = scale;
    adamw_update(tensor, settings, t, torch_parallel());
  }
}

}  // namespace fathom::train
