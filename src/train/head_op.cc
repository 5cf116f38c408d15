#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "base/extents.h"
#include "kernels/head_cross_entropy/head_cross_entropy.h"
#include "train/differentiable.h"
#include "train/op_profile.h"
#include "train/ops.h"
#include "train/product.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

// Logits of at most this many bytes at a time. The weight is packed anew for every chunk and its gradient is
// added to, both of which want many rows to be worth it.
constexpr int64_t kChunkBytes = int64_t{128} << 20;
// Rows of the weight that are packed at a time: a packed slice stays in the last-level cache.
constexpr int64_t kSlice = 4096;

class PackedHeadProducts final : public kernels::HeadProducts {
 public:
  PackedHeadProducts(const Tensor& weight, Precision precision)
      : precision_(product_precision(precision)),
        weight_gradient_precision_(weight_gradient_precision(precision)),
        weight_(weight.const_data_ptr<float>()),
        vocab_(weight.size(0)),
        dim_(weight.size(1)) {}

  void logits(const float* hidden, int64_t rows, float* logits) override {
    const PackedOperand left({hidden, rows, dim_, dim_, false}, MatmulSide::kRows, precision_);
    for (int64_t v = 0; v < vocab_; v += kSlice) {
      const MatmulOperand slice = {weight_ + v * dim_, std::min(kSlice, vocab_ - v), dim_, dim_, false};
      multiply(left, {slice, MatmulSide::kColumns, precision_}, logits + v, vocab_, false);
    }
  }
  void grad_hidden(const float* grad_logits, int64_t rows, float* grad_hidden) override {
    for (int64_t v = 0; v < vocab_; v += kSlice) {
      const int64_t count = std::min(kSlice, vocab_ - v);
      multiply({{grad_logits + v, rows, count, vocab_, false}, MatmulSide::kRows, precision_},
               {{weight_ + v * dim_, dim_, count, dim_, true}, MatmulSide::kColumns, precision_}, grad_hidden,
               dim_, v > 0);
    }
  }
  void add_grad_weight(const float* grad_logits, const float* hidden, int64_t rows) override {
    const bool first = !grad_weight_.defined();
    if (first) grad_weight_ = at::empty({vocab_, dim_}, at::kFloat);
    const PackedOperand right({hidden, dim_, rows, dim_, true}, MatmulSide::kColumns,
                              weight_gradient_precision_);
    for (int64_t v = 0; v < vocab_; v += kSlice) {
      const MatmulOperand slice = {grad_logits + v, std::min(kSlice, vocab_ - v), rows, vocab_, true};
      multiply({slice, MatmulSide::kRows, weight_gradient_precision_}, right,
               grad_weight_.mutable_data_ptr<float>() + v * dim_, dim_, !first);
    }
  }
  const Tensor& grad_weight() const { return grad_weight_; }

 private:
  MatmulPrecision precision_, weight_gradient_precision_;
  const float* weight_;
  Tensor grad_weight_;
  int64_t vocab_, dim_;
};

}  // namespace

int64_t head_slice() { return kSlice; }

int64_t head_chunk_rows(int64_t rows, int64_t vocab) {
  const int64_t chunks = std::max<int64_t>(1, ceil_div(rows * vocab * 4, kChunkBytes));
  return std::max<int64_t>(1, ceil_div(rows, chunks));
}

Tensor head_cross_entropy(const Tensor& hidden, const Tensor& weight, const std::vector<int32_t>& labels,
                          double loss_scale, double label_smoothing, Precision precision) {
  const OpTimer timer("head_cross_entropy", OpPass::kForward);
  const int64_t rows = hidden.size(0), dim = hidden.size(1), vocab = weight.size(0);
  const int64_t chunk = head_chunk_rows(rows, vocab);
  const bool backward = wants_gradient({hidden, weight});
  Tensor grad_hidden;
  double loss = 0;
  PackedHeadProducts products(weight, precision);
  {
    const at::NoGradGuard no_graph;
    const Tensor workspace = at::empty({chunk * vocab}, at::kFloat);
    if (backward) grad_hidden = at::empty(hidden.sizes(), at::kFloat);
    kernels::head_cross_entropy_cpu(
        {.hidden = hidden.const_data_ptr<float>(),
         .labels = labels.data(),
         .loss = &loss,
         .grad_hidden = backward ? grad_hidden.mutable_data_ptr<float>() : nullptr,
         .workspace = workspace.mutable_data_ptr<float>(),
         .rows = rows,
         .dim = dim,
         .vocab = vocab,
         .chunk_rows = chunk,
         .loss_scale = static_cast<float>(loss_scale),
         .label_smoothing = static_cast<float>(label_smoothing)},
        products, torch_parallel());
  }
  std::vector<Tensor> outputs = {at::zeros({}, at::kFloat)};
  *outputs[0].mutable_data_ptr<float>() = static_cast<float>(loss);
  record("head_cross_entropy", outputs, {hidden, weight},
         [grad_hidden, weight,
          grad_weight = products.grad_weight()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
           // As a rule this is the end of the graph and the factor 1.
           const float factor = grads[0].item<float>();
           Tensor grad = factor == 1 ? grad_hidden : grad_hidden * factor;
           Tensor& leaf = weight.mutable_grad();
           if (!weight.is_leaf()) return {grad, grad_weight * factor};
           if (leaf.defined()) {
             leaf.add_(grad_weight, factor);
           } else {
             leaf = factor == 1 ? grad_weight : grad_weight * factor;
           }
           return {grad, Tensor()};
         });
  return outputs.front();
}

}  // namespace fathom::train
