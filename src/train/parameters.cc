#include "train/parameters.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "plan/initial_value.h"
#include "train/ops.h"
#include "train/torch_parallel.h"
#include "weights/checkpoint.h"

namespace fathom::train {

Parameters::Parameters(const ModelPlan& plan) {
  for (const Param& param : plan.params) {
    Tensor tensor = at::empty(param.shape, at::kFloat);
    tensor.set_requires_grad(true);
    tensors_.push_back(std::move(tensor));
  }
}

Tensor Parameters::at(const ParamRef& param, int32_t depth) const {
  return param.present() ? tensors_[static_cast<size_t>(param.at(depth))] : Tensor();
}

std::span<float> Parameters::values(int32_t param) {
  const Tensor& tensor = tensors_[static_cast<size_t>(param)];
  return {tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

std::span<const float> Parameters::values(int32_t param) const {
  const Tensor& tensor = tensors_[static_cast<size_t>(param)];
  return {tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

std::span<const float> Parameters::gradient(int32_t param) const {
  const Tensor& grad = tensors_[static_cast<size_t>(param)].grad();
  if (!grad.defined()) return {};
  return {grad.const_data_ptr<float>(), static_cast<size_t>(grad.numel())};
}

void Parameters::clear_gradients() {
  for (Tensor& tensor : tensors_) tensor.mutable_grad() = Tensor();
}

void init_parameters(const ModelPlan& plan, uint64_t seed, Parameters& parameters) {
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const std::span<float> values = parameters.values(static_cast<int32_t>(p));
    const int64_t columns = plan.params[p].shape.back();
    torch_parallel().run(static_cast<int64_t>(values.size()), 4096, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        values[static_cast<size_t>(i)] = initial_value(plan.params[p].init, seed, p, i, columns);
      }
    });
  }
  start_magnitudes(plan, parameters);
}

void start_magnitudes(const ModelPlan& plan, Parameters& parameters) {
  const at::NoGradGuard no_graph;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
      const Adapter& adapter = *matrix.adapter;
      if (!adapter.magnitude.present()) continue;
      const Tensor norms = adapted_norms(parameters.at(matrix.weight, depth), parameters.at(adapter.a, depth),
                                         parameters.at(adapter.b, depth), adapter.scaling);
      parameters.at(adapter.magnitude, depth).copy_(norms);
    }
  });
}

Status load_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       Parameters& parameters) {
  return read_parameters(plan, scheme, files, [&](int32_t param) { return parameters.values(param); });
}

}  // namespace fathom::train
