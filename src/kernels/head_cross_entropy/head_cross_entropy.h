// The unembedding and the cross entropy in one op that never holds all logits: rows go through in chunks, and
// a chunk's logits are turned into its gradients in place.
//
//   logits[r] = hidden[r] . weight^T
//   nll[r]    = (1 - s) * (lse - logits[r, label]) + s * (lse - mean_v logits[r, v])     s = label smoothing
//   loss      = sum over rows with label != ignored of loss_scale * nll[r]
//
// With gradients wanted they are computed in the same pass, for dL/dloss = 1. The matrix products are the
// caller's (`matmul` in training, `linear` in the engine), through HeadProducts.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

constexpr int32_t kIgnoredLabel = -100;

class HeadProducts {
 public:
  virtual ~HeadProducts() = default;
  // logits [rows, vocab] = hidden [rows, dim] weight^T.
  virtual void logits(const float* hidden, int64_t rows, float* logits) = 0;
  // grad_hidden [rows, dim] = grad_logits [rows, vocab] weight.
  virtual void grad_hidden(const float* grad_logits, int64_t rows, float* grad_hidden) = 0;
  // grad_weight [vocab, dim] += grad_logits^T hidden.
  virtual void add_grad_weight(const float* grad_logits, const float* hidden, int64_t rows) = 0;
};

struct HeadCrossEntropy {
  const float* hidden = nullptr;    // [rows, dim]
  const int32_t* labels = nullptr;  // [rows], kIgnoredLabel or in [0, vocab) (FATHOM_CHECK)
  float* nll = nullptr;             // [rows], 0 where ignored; or null
  double* loss = nullptr;           // one value
  float* grad_hidden = nullptr;     // [rows, dim], overwritten, or null: no gradients at all
  float* workspace = nullptr;       // chunk_rows * vocab floats
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t vocab = 0;
  int64_t chunk_rows = 0;
  float loss_scale = 1;
  float label_smoothing = 0;
};

void head_cross_entropy_ref(const HeadCrossEntropy& args, HeadProducts& products);
void head_cross_entropy_cpu(const HeadCrossEntropy& args, HeadProducts& products, Parallel& parallel);

// Products in double over plain float arrays, for ref, tests and gradients without LibTorch. grad_weight
// [vocab, dim] may be null when no gradients are wanted; it must be zeroed by the caller.
class PlainHeadProducts final : public HeadProducts {
 public:
  PlainHeadProducts(const float* weight, float* grad_weight, int64_t dim, int64_t vocab)
      : weight_(weight), grad_weight_(grad_weight), dim_(dim), vocab_(vocab) {}
  void logits(const float* hidden, int64_t rows, float* logits) override;
  void grad_hidden(const float* grad_logits, int64_t rows, float* grad_hidden) override;
  void add_grad_weight(const float* grad_logits, const float* hidden, int64_t rows) override;

 private:
  const float* weight_;
  float* grad_weight_;
  int64_t dim_, vocab_;
};

}  // namespace fathom::kernels
