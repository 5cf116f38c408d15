#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "train/differentiable.h"
#include "train/op_profile.h"
#include "train/ops.h"
#include "train/product.h"

namespace fathom::train {

namespace {

// What the gradient of the weights needs of x. In bfloat16 the packed form takes half of x's bytes, and x
// itself need not live until then.
struct KeptInput {
  Tensor x;              // float products
  PackedOperand packed;  // bfloat16 products
  PackedOperand columns() const {
    return packed.defined()
               ? packed
               : PackedOperand(columns_of(x), MatmulSide::kColumns, weight_gradient_precision_of(false));
  }
};

// sum over rows, in order.
void add_column_sums(const Tensor& matrix, const GradientSink& sums) {
  float* to = sums.data();
  const int64_t rows = matrix.size(0), columns = matrix.size(1);
  const auto* from = matrix.const_data_ptr<float>();
  if (!sums.accumulate) std::fill(to, to + columns, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c] += from[r * columns + c];
  }
}

std::vector<Tensor> backward(const std::vector<Tensor>& grads, const std::vector<LinearWeights>& layers,
                             const KeptInput& kept, at::IntArrayRef x_sizes, bool x_wants, bool bf16) {
  const MatmulPrecision precision = precision_of(bf16);
  Tensor grad_x = x_wants ? at::empty(x_sizes, at::kFloat) : Tensor();
  std::vector<Tensor> result = {grad_x};
  PackedOperand x_columns;
  for (size_t i = 0; i < layers.size(); ++i) {
    const Tensor& weight = layers[i].weight;
    const Tensor& bias = layers[i].bias;
    const int64_t in = weight.size(1);
    if (x_wants) {
      multiply({rows_of(grads[i]), MatmulSide::kRows, precision},
               {columns_of(weight), MatmulSide::kColumns, precision}, grad_x.mutable_data_ptr<float>(), in,
               i > 0);
    }
    result.emplace_back();
    if (weight.requires_grad()) {
      if (!x_columns.defined()) x_columns = kept.columns();
      const GradientSink sink(weight);
      multiply({columns_of(grads[i]), MatmulSide::kRows, weight_gradient_precision_of(bf16)}, x_columns,
               sink.data(), in, sink.accumulate);
      result.back() = sink.returned;
    }
    result.emplace_back();
    if (bias.defined() && bias.requires_grad()) {
      const GradientSink sink(bias);
      add_column_sums(grads[i], sink);
      result.back() = sink.returned;
    }
  }
  return result;
}

}  // namespace

std::vector<Tensor> linears(const Tensor& x, const std::vector<LinearWeights>& layers, bool bf16) {
  const OpTimer timer("linear", OpPass::kForward);
  const MatmulPrecision precision = precision_of(bf16);
  const int64_t rows = x.size(0);
  std::vector<Tensor> outputs, inputs = {x};
  bool weights_want = false;
  const PackedOperand left(rows_of(x), MatmulSide::kRows, precision);
  for (const LinearWeights& layer : layers) {
    const int64_t out = layer.weight.size(0);
    Tensor y = at::empty({rows, out}, at::kFloat);
    const bool has_bias = layer.bias.defined();
    if (has_bias) {
      const at::NoGradGuard no_graph;
      y.copy_(layer.bias.detach().expand({rows, out}));
    }
    multiply(left, {rows_of(layer.weight), MatmulSide::kColumns, precision}, y.mutable_data_ptr<float>(), out,
             has_bias);
    outputs.push_back(std::move(y));
    inputs.push_back(layer.weight);
    inputs.push_back(layer.bias);
    weights_want = weights_want || layer.weight.requires_grad();
  }
  if (!wants_gradient(inputs)) return outputs;
  KeptInput kept;
  if (weights_want && bf16) {
    kept.packed = PackedOperand(columns_of(x), MatmulSide::kColumns, weight_gradient_precision_of(bf16));
  } else if (weights_want) {
    kept.x = x;
  }
  const bool x_wants = x.requires_grad();
  record("linear", outputs, inputs,
         [layers, kept, sizes = x.sizes().vec(), x_wants, bf16](const std::vector<Tensor>& grads) {
           return backward(grads, layers, kept, sizes, x_wants, bf16);
         });
  return outputs;
}

Tensor add_bias(const Tensor& x, const Tensor& bias) {
  const OpTimer timer("add_bias", OpPass::kForward);
  std::vector<Tensor> outputs = {at::empty(x.sizes(), at::kFloat)};
  {
    const at::NoGradGuard no_graph;
    outputs[0].copy_(x.detach() + bias.detach());
  }
  record("add_bias", outputs, {x, bias}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const GradientSink sink(bias);
    add_column_sums(grads[0], sink);
    return {grads[0], sink.returned};
  });
  return outputs[0];
}

Tensor linear(const Tensor& x, const LinearWeights& layer, bool bf16) {
  return linears(x, {layer}, bf16).front();
}

}  // namespace fathom::train
