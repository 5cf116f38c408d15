// The parameters of a plan as LibTorch leaves: one float tensor each, the masters that the optimizer updates.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom::train {

using at::Tensor;

class Parameters {
 public:
  // Uninitialised.
  explicit Parameters(const ModelPlan& plan);

  // The parameter of a layer at a depth; undefined if the layer has none.
  Tensor at(const ParamRef& param, int32_t depth) const;
  const std::vector<Tensor>& tensors() const { return tensors_; }

  std::span<float> values(int32_t param);
  std::span<const float> values(int32_t param) const;
  // Empty if nothing came back to this parameter.
  std::span<const float> gradient(int32_t param) const;
  void clear_gradients();

 private:
  std::vector<Tensor> tensors_;
};

// Fills every parameter as its Init says, with numbers keyed by (seed, parameter, element): the same on every
// machine and for any number of threads.
void init_parameters(const ModelPlan& plan, uint64_t seed, Parameters& parameters);

// The magnitudes of DoRA, from the matrices and adapters that stand in `parameters`: the model computes then
// what it would without them.
void start_magnitudes(const ModelPlan& plan, Parameters& parameters);

// From a checkpoint.
Status load_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       Parameters& parameters);

}  // namespace fathom::train
