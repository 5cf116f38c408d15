// What the ops' own files use to make tensors and to hand them to kernels.
#pragma once

#include <ATen/ops/empty.h>

#include <utility>
#include <vector>

#include "train/differentiable.h"

namespace fathom::train {

inline Tensor floats(int64_t count) { return at::empty({count}, at::kFloat); }
inline Tensor like(const Tensor& x) { return at::empty(x.sizes(), at::kFloat); }
// Null for an undefined tensor.
inline const float* in(const Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }
inline float* out(const Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

// Records and hands back the only output.
inline Tensor single(const char* op, Tensor output, const std::vector<Tensor>& inputs, Backward backward) {
  std::vector<Tensor> outputs = {std::move(output)};
  record(op, outputs, inputs, std::move(backward));
  return outputs.front();
}

}  // namespace fathom::train
