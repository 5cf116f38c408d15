#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "train/differentiable.h"
#include "train/op_profile.h"
#include "train/ops.h"
#include "train/product.h"

namespace fathom::train {

namespace {

// Rows that are added to the gradients of weights at a time: what is packed of them is still in a cache when
// it is multiplied. A multiple of matmul's blocks of k.
constexpr int64_t kRowsTogether = 1024;

Tensor some_rows(const Tensor& matrix, int64_t begin) {
  return matrix.narrow(0, begin, std::min(kRowsTogether, matrix.size(0) - begin));
}

PackedOperand packed_columns(const Tensor& x, int64_t begin, Precision precision) {
  return {columns_of(some_rows(x, begin)), MatmulSide::kColumns, weight_gradient_precision(precision)};
}

// What the gradients of the weights need of x. In bfloat16 the packed form takes half of x's bytes, and x
// itself need not live until then.
struct KeptInput {
  Tensor x;                           // float products
  std::vector<PackedOperand> packed;  // bfloat16 products: its columns, kRowsTogether rows each
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
                             const KeptInput& kept, at::IntArrayRef x_sizes, bool x_wants,
                             Precision precision) {
  Tensor grad_x = x_wants ? at::empty(x_sizes, at::kFloat) : Tensor();
  std::vector<Tensor> result = {grad_x};
  std::vector<std::optional<GradientSink>> weights(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto& [weight, bias] = layers[i];
    if (x_wants) {
      multiply({rows_of(grads[i]), MatmulSide::kRows, product_precision(precision)},
               {columns_of(weight), MatmulSide::kColumns, product_precision(precision)},
               grad_x.mutable_data_ptr<float>(), weight.size(1), i > 0);
    }
    result.emplace_back();
    if (weight.requires_grad()) result.back() = weights[i].emplace(weight).returned;
    result.emplace_back();
    if (bias.defined() && bias.requires_grad()) {
      const GradientSink sink(bias);
      add_column_sums(grads[i], sink);
      result.back() = sink.returned;
    }
  }
  if (std::ranges::none_of(weights, [](const auto& sink) { return sink.has_value(); })) return result;
  for (int64_t row = 0; row == 0 || row < x_sizes[0]; row += kRowsTogether) {
    const PackedOperand x_columns = kept.packed.empty()
                                        ? packed_columns(kept.x, row, precision)
                                        : kept.packed[static_cast<size_t>(row / kRowsTogether)];
    for (size_t i = 0; i < layers.size(); ++i) {
      if (!weights[i]) continue;
      multiply(
          {columns_of(some_rows(grads[i], row)), MatmulSide::kRows, weight_gradient_precision(precision)},
          x_columns, weights[i]->data(), layers[i].weight.size(1), weights[i]->accumulate || row > 0);
    }
  }
  return result;
}

}  // namespace

std::vector<Tensor> linears(const Tensor& x, const std::vector<LinearWeights>& layers, Precision precision) {
  const OpTimer timer("linear", OpPass::kForward);
  const MatmulPrecision of_products = product_precision(precision);
  const int64_t rows = x.size(0);
  std::vector<Tensor> outputs, inputs = {x};
  bool weights_want = false;
  const PackedOperand left(rows_of(x), MatmulSide::kRows, of_products);
  for (const LinearWeights& layer : layers) {
    const int64_t out = layer.weight.size(0);
    Tensor y = at::empty({rows, out}, at::kFloat);
    const bool has_bias = layer.bias.defined();
    if (has_bias) {
      const at::NoGradGuard no_graph;
      y.copy_(layer.bias.detach().expand({rows, out}));
    }
    multiply(left, {rows_of(layer.weight), MatmulSide::kColumns, of_products}, y.mutable_data_ptr<float>(),
             out, has_bias);
    outputs.push_back(std::move(y));
    inputs.push_back(layer.weight);
    inputs.push_back(layer.bias);
    weights_want = weights_want || layer.weight.requires_grad();
  }
  if (!wants_gradient(inputs)) return outputs;
  KeptInput kept;
  if (weights_want && precision == Precision::kBF16) {
    for (int64_t row = 0; row == 0 || row < rows; row += kRowsTogether)
      kept.packed.push_back(packed_columns(x, row, precision));
  } else if (weights_want) {
    kept.x = x;
  }
  const bool x_wants = x.requires_grad();
  record("linear", outputs, inputs,
         [layers, kept, sizes = x.sizes().vec(), x_wants, precision](const std::vector<Tensor>& grads) {
           return backward(grads, layers, kept, sizes, x_wants, precision);
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

Tensor linear(const Tensor& x, const LinearWeights& layer, Precision precision) {
  return linears(x, {layer}, precision).front();
}

}  // namespace fathom::train
