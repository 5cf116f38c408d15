#include "train/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "train/differentiable.h"

namespace fathom::train {

Tensor NotedParameters::at(const ParamRef& param, int32_t depth) const {
  Tensor tensor = parameters_->at(param, depth);
  const auto same = [&](const Tensor& other) { return other.is_same(tensor); };
  if (tensor.defined() && std::ranges::none_of(read_, same)) read_.push_back(tensor);
  return tensor;
}

namespace {

// Gradients of the sum of outputs * grads with respect to inputs, then parameters.
std::vector<Tensor> gradients(const std::vector<Tensor>& inputs, const std::vector<Tensor>& parameters,
                              const std::vector<Tensor>& grads,
                              const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& body) {
  const at::AutoGradMode graph(true);
  std::vector<Tensor> fresh, sought;
  for (const Tensor& input : inputs) {
    fresh.push_back(input.detach());
    if (!input.requires_grad()) continue;
    sought.push_back(fresh.back().set_requires_grad(true));
    fresh.back() = sought.back().view_as(sought.back());  // as in the first run, no leaf
  }
  sought.insert(sought.end(), parameters.begin(), parameters.end());
  const std::vector<Tensor> found =
      torch::autograd::grad(body(fresh), sought, grads, /*retain_graph=*/false, /*create_graph=*/false,
                            /*allow_unused=*/true);
  std::vector<Tensor> all;
  size_t next = 0;
  for (const Tensor& input : inputs) all.push_back(input.requires_grad() ? found[next++] : Tensor());
  all.insert(all.end(), found.begin() + static_cast<int64_t>(next), found.end());
  return all;
}

}  // namespace

std::vector<Tensor> recomputed(const std::vector<Tensor>& inputs, const Parameters& parameters,
                               const Recomputable& body) {
  const NotedParameters noted(parameters);
  std::vector<Tensor> outputs;
  {
    const at::NoGradGuard no_graph;
    outputs = body(inputs, noted);
  }
  std::vector<Tensor> read;
  for (const Tensor& parameter : noted.read()) {
    if (parameter.requires_grad()) read.push_back(parameter);
  }
  std::vector<Tensor> sources = inputs;
  sources.insert(sources.end(), read.begin(), read.end());
  record("recomputed layer", outputs, sources,
         [inputs, read, &parameters, body](const std::vector<Tensor>& grads) {
           return gradients(inputs, read, grads, [&](const std::vector<Tensor>& fresh) {
             return body(fresh, NotedParameters(parameters));
           });
         });
  return outputs;
}

}  // namespace fathom::train
