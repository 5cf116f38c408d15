// What training leaves to LibTorch: dense products, alone and inside the head with cross entropy.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "kernels/head_cross_entropy/head_cross_entropy.h"
#include "train/differentiable.h"
#include "train/ops.h"
#include "train/torch_parallel.h"

namespace fathom::train {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool bf16) {
  if (!bf16) return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  const Tensor y = at::linear(x.to(at::kBFloat16), weight.to(at::kBFloat16)).to(at::kFloat);
  return bias.defined() ? y + bias : y;
}

namespace {

// Logits of about this many bytes at a time.
constexpr int64_t kChunkBytes = int64_t{8} << 20;

class TorchHeadProducts final : public kernels::HeadProducts {
 public:
  TorchHeadProducts(const Tensor& weight, bool bf16)
      : type_(bf16 ? at::kBFloat16 : at::kFloat),
        weight_(weight.detach().to(type_)),
        dim_(weight.size(1)),
        vocab_(weight.size(0)) {}

  void logits(const float* hidden, int64_t rows, float* logits) override {
    Tensor target = view(logits, rows, vocab_);
    if (type_ == at::kFloat) {
      at::mm_out(target, view(hidden, rows, dim_), weight_.t());
    } else {
      target.copy_(at::mm(view(hidden, rows, dim_).to(type_), weight_.t()));
    }
  }
  void grad_hidden(const float* grad_logits, int64_t rows, float* grad_hidden) override {
    Tensor target = view(grad_hidden, rows, dim_);
    if (type_ == at::kFloat) {
      at::mm_out(target, view(grad_logits, rows, vocab_), weight_);
    } else {
      target.copy_(at::mm(view(grad_logits, rows, vocab_).to(type_), weight_));
    }
  }
  void add_grad_weight(const float* grad_logits, const float* hidden, int64_t rows) override {
    if (!grad_weight_.defined()) grad_weight_ = at::zeros({vocab_, dim_}, at::kFloat);
    const Tensor left = view(grad_logits, rows, vocab_).to(type_).t(),
                 right = view(hidden, rows, dim_).to(type_);
    if (type_ == at::kFloat) {
      grad_weight_.addmm_(left, right);
    } else {
      grad_weight_.add_(at::mm(left, right));
    }
  }
  const Tensor& grad_weight() const { return grad_weight_; }

 private:
  static Tensor view(const float* data, int64_t rows, int64_t columns) {
    return at::from_blob(const_cast<float*>(data), {rows, columns}, at::kFloat);
  }
  at::ScalarType type_;
  Tensor weight_, grad_weight_;
  int64_t dim_, vocab_;
};

}  // namespace

Tensor head_cross_entropy(const Tensor& hidden, const Tensor& weight, const std::vector<int32_t>& labels,
                          double loss_scale, double label_smoothing, bool bf16) {
  const int64_t rows = hidden.size(0), dim = hidden.size(1), vocab = weight.size(0);
  const int64_t chunk = std::clamp<int64_t>(kChunkBytes / (vocab * 4), 1, std::max<int64_t>(1, rows));
  const bool backward = wants_gradient({hidden, weight});
  Tensor grad_hidden, grad_weight;
  double loss = 0;
  {
    const at::NoGradGuard no_graph;
    TorchHeadProducts products(weight, bf16);
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
    grad_weight = products.grad_weight();
  }
  std::vector<Tensor> outputs = {at::zeros({}, at::kFloat)};
  *outputs[0].mutable_data_ptr<float>() = static_cast<float>(loss);
  record(outputs, {hidden, weight}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    return {grad_hidden * grads[0], grad_weight * grads[0]};
  });
  return outputs.front();
}

}  // namespace fathom::train
