// Makes an op of ours part of LibTorch's graph: outputs computed by a kernel, and a function that turns the
// gradients of the outputs into those of the inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace fathom::train {

using at::Tensor;

// Gradients of the outputs (zeros where nothing came back) -> gradients of the inputs, in their order; an
// undefined tensor for an input that needs none. The function may hold tensors: inputs as they are, outputs
// only detached (an output that holds its own graph would never be freed).
using Backward = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

// Registers `backward` for `outputs`, which must be fresh tensors. Without gradient mode, or if no input
// wants a gradient, nothing is recorded. `op` names it in profiles (train/op_profile.h) and outlives the
// graph.
void record(const char* op, std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
            Backward backward);

// Where the gradient of an input is written. For a leaf that is its own .grad, so that uses and micro-batches
// are summed where they end; the op then returns an undefined tensor for this input. Otherwise it is a fresh
// tensor to be returned.
struct GradientSink {
  explicit GradientSink(const Tensor& input);
  float* data() const { return tensor.mutable_data_ptr<float>(); }

  Tensor tensor;            // dense, of the input's shape
  bool accumulate = false;  // add to what stands there; else overwrite it all
  Tensor returned;          // what the op returns for this input
};

// True if an op over these inputs will be recorded: what only backward needs may be skipped otherwise.
bool wants_gradient(const std::vector<Tensor>& inputs);

}  // namespace fathom::train
