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
// wants a gradient, nothing is recorded.
void record(std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs, Backward backward);

// True if an op over these inputs will be recorded: what only backward needs may be skipped otherwise.
bool wants_gradient(const std::vector<Tensor>& inputs);

}  // namespace fathom::train
