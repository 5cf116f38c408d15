// Routing of Mixture-of-Recursions (sections "Expert-choice routing" and "Token-choice routing" there): the
// last matrix of a router, its scores, and what is decided by them.
//
//   logit[r, i] = (x[r] / temperature) . weight[i]
//   score[r]    = sigmoid(logit), tanh(logit), logit, or softmax over i;   w = alpha * score
//                 (w = logit for kIdentity)
//
// Expert choice has one output a row. Selection is hierarchical: the candidates of depth r are the rows kept
// at depth r - 1, and of each sequence the k rows with the largest w stay. Equal w: the larger logit, then
// the earlier row. Token choice has an output for each depth, and the row takes the one with the largest w,
// among equals the first. NaN counts as minus infinity, so that a selection is defined whatever the model
// computes.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

enum class RouterScore : uint8_t { kSigmoid, kTanh, kIdentity, kSoftmax };

struct RouterFwd {
  const float* x = nullptr;       // [rows, dim]: the residual stream, not normalised, or a hidden layer
  const float* weight = nullptr;  // [outputs, dim]
  float* logits = nullptr;        // [rows, outputs]
  float* weights = nullptr;       // [rows, outputs]: w
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t outputs = 1;
  float temperature = 1;
  float alpha = 1;
  RouterScore score = RouterScore::kSigmoid;
};

struct RouterBwd {
  const float* x = nullptr;             // [rows, dim]
  const float* weight = nullptr;        // [outputs, dim]
  const float* logits = nullptr;        // [rows, outputs]
  const float* grad_weights = nullptr;  // [rows, outputs]: dL/dw through the gating, zero for rows not kept
  const float* grad_logits = nullptr;   // [rows, outputs]: dL/dlogit through the auxiliary losses, or null
  float* grad_x = nullptr;              // [rows, dim], overwritten
  float* grad_weight = nullptr;         // [outputs, dim], overwritten
  float* workspace = nullptr;           // router_bwd_workspace(rows, dim, outputs) floats; the cpu form only
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t outputs = 1;
  float temperature = 1;
  float alpha = 1;
  RouterScore score = RouterScore::kSigmoid;
};

// Keeps of each sequence the `keep[s]` candidates with the largest w. `kept` receives candidate row numbers,
// ascending within and across sequences, sum of keep[s] in all.
struct RouterTopK {
  const float* weights = nullptr;       // [rows]
  const float* logits = nullptr;        // [rows]
  const RowRange* sequences = nullptr;  // candidate rows of each sequence, in order
  const int64_t* keep = nullptr;        // [num_sequences], 0 <= keep[s] <= rows of s
  int64_t num_sequences = 0;
  int32_t* kept = nullptr;
  int32_t* workspace = nullptr;  // as many int32 as the longest sequence has rows; the cpu form only
};

// Token choice: of each row the output with the largest w + bias.
struct RouterChoose {
  const float* weights = nullptr;  // [rows, outputs]
  const float* bias = nullptr;     // [outputs] of the loss-free balancing, or null
  int32_t* chosen = nullptr;       // [rows]
  int64_t rows = 0;
  int64_t outputs = 1;
};

// Auxiliary loss (3.4): binary cross entropy of each candidate's logit against "was kept", summed over rows.
//   bce = sum_r max(z, 0) - z y + log(1 + exp(-|z|)),   grad_logits[r] = scale * (sigmoid(z) - y)
struct RouterBce {
  const float* logits = nullptr;  // [rows]
  const int32_t* kept = nullptr;  // [num_kept], ascending
  int64_t rows = 0;
  int64_t num_kept = 0;
  float scale = 1;
  double* loss = nullptr;        // one value: scale * bce
  float* grad_logits = nullptr;  // [rows], overwritten, or null
};

void router_fwd_ref(const RouterFwd& args);
void router_bwd_ref(const RouterBwd& args);
void router_top_k_ref(const RouterTopK& args);
void router_choose_ref(const RouterChoose& args);
void router_bce_ref(const RouterBce& args);

void router_fwd_cpu(const RouterFwd& args, Parallel& parallel);
void router_bwd_cpu(const RouterBwd& args, Parallel& parallel);
void router_top_k_cpu(const RouterTopK& args, Parallel& parallel);
int64_t router_bwd_workspace(int64_t rows, int64_t dim, int64_t outputs);

// k_r = max(1, floor(capacity * length)), capped by the candidates there are (3.2). The product and its floor
// are double, as in the reference.
int64_t router_capacity(double capacity, int64_t length, int64_t candidates);

}  // namespace fathom::kernels
