// Gradient checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016): a part of the
// model keeps its inputs alone, and backward runs it once more to have what its gradients need.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "train/parameters.h"

namespace fathom::train {

// Parameters as an executor reads them, with a memory for which were read.
class NotedParameters {
 public:
  explicit NotedParameters(const Parameters& parameters) : parameters_(&parameters) {}
  Tensor at(const ParamRef& param, int32_t depth) const;
  // Each that was read since this object was made, once, in the order of first use.
  const std::vector<Tensor>& read() const { return read_; }
  const Parameters& all() const { return *parameters_; }

 private:
  const Parameters* parameters_;
  mutable std::vector<Tensor> read_;
};

// A pure function of its inputs and of the parameters it reads: run twice, it gives the same bits. It must
// not change what it captures.
using Recomputable =
    std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs, const NotedParameters& parameters)>;

// body(inputs), computed now without gradients; backward computes it again. `inputs` name every tensor, but
// for parameters, through which a gradient flows. All gradients have the bits that they have without
// recomputation, provided that something comes back to each output. `parameters` outlive the graph.
std::vector<Tensor> recomputed(const std::vector<Tensor>& inputs, const Parameters& parameters,
                               const Recomputable& body);

}  // namespace fathom::train
