// Attention without its projections over a batch of equal lengths, as module cases record it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "kernels/attention/attention.h"

namespace fathom::cli::verify {

// The queries are the last `queries` positions of each of `batch` sequences of `keys` entries.
struct AttentionShape {
  int64_t batch = 0, queries = 0, keys = 0;
  int64_t window = 0;  // keys seen, itself included; 0: all
  int64_t heads = 0, kv_heads = 0, head_dim = 0, stripes = 1;
  float scale = 0;
};

class AttentionCore {
 public:
  using Values = std::vector<float>;

  // q [batch, queries, heads, head_dim]; k and v [batch, keys, kv_heads, head_dim].
  AttentionCore(const AttentionShape& shape, Values q, Values k, Values v, Parallel& parallel);

  const Values& out() const { return out_; }  // [batch, queries, heads, stripes * head_dim]
  struct Gradients {
    Values q, k, v;
  };
  Gradients backward(const Values& grad_out);

 private:
  AttentionShape shape_;
  Values q_, k_, v_, out_, lse_;
  std::vector<int32_t> key_begin_, key_end_;
  std::vector<uint8_t> workspace_;
  Parallel& parallel_;
};

}  // namespace fathom::cli::verify
