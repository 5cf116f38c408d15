// The gated delta rule (Gated DeltaNet, arXiv 2412.06464, eq. 10; with negative eigenvalues, arXiv
// 2411.12537; Decoder-Hybrid-Decoder 2.7). Every head has a state S of key_dim rows and value_dim columns:
//
//   q^_t = q_t / sqrt(key_dim (|q_t|^2 + 1e-6)),  k^_t = k_t / sqrt(|k_t|^2 + 1e-6)
//   alpha_t = exp(a softplus(dt_t + dt_bias)),    beta_t = 2 / (1 + exp(-b_t))    softplus(a) = a for a > 20
//   e_t = v_t - alpha_t S_{t-1}^T k^_t                        what the decayed state does not yet recall
//   S_t = alpha_t S_{t-1} + beta_t k^_t e_t^T
//   y_t = S_t^T q^_t
//
// y is taken before the output gate and its norm: it is the memory that gated memory units read. Sequential
// in time, parallel over the columns of S: a sequence may be cut into calls anywhere without changing a bit.
// Backward, and a forward form for training, take a chunk of rows at once. State is float.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

// Rows of a chunk: backward starts from states kept every kDeltaChunk rows.
constexpr int64_t kDeltaChunk = 64;

struct DeltaSequence {
  RowRange rows;
  float* state = nullptr;  // [heads, key_dim, value_dim], read and written; null: from zeros, not kept
};

struct DeltaShape {
  int64_t heads = 0;
  int64_t key_dim = 0;
  int64_t value_dim = 0;
  int64_t keys() const { return heads * key_dim; }
  int64_t values() const { return heads * value_dim; }
};

struct GatedDeltaFwd {
  const float* q = nullptr;        // [rows, heads * key_dim]: the convolution's output
  const float* k = nullptr;        // [rows, heads * key_dim], likewise
  const float* v = nullptr;        // [rows, heads * value_dim], likewise
  const float* dt = nullptr;       // [rows, heads], without bias
  const float* b = nullptr;        // [rows, heads]
  const float* dt_bias = nullptr;  // [heads]
  const float* a = nullptr;        // [heads]: -exp(A_log)
  float* y = nullptr;              // [rows, heads * value_dim]; overlapping no input
  const DeltaSequence* sequences = nullptr;
  int64_t num_sequences = 0;
  float* terms = nullptr;        // [rows, kDeltaTerms * heads], written: what a head has one of, for backward
  float* checkpoints = nullptr;  // gated_delta_checkpoints(...) floats for backward, or null
  float* workspace = nullptr;    // gated_delta_fwd_workspace(...) floats; the cpu form only
  DeltaShape shape;
};

// The factors of q and of k, softplus, alpha, beta.
constexpr int64_t kDeltaTerms = 5;

// For sequences that start from zeros (training).
struct GatedDeltaBwd {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  const float* dt = nullptr;
  const float* b = nullptr;
  const float* dt_bias = nullptr;
  const float* a = nullptr;
  const float* grad_y = nullptr;       // [rows, heads * value_dim]
  const float* terms = nullptr;        // from forward
  const float* checkpoints = nullptr;  // from forward
  const RowRange* sequences = nullptr;
  int64_t num_sequences = 0;
  float* grad_q = nullptr;        // [rows, heads * key_dim], overwritten
  float* grad_k = nullptr;        // [rows, heads * key_dim], overwritten
  float* grad_v = nullptr;        // [rows, heads * value_dim], overwritten
  float* grad_dt = nullptr;       // [rows, heads], overwritten: before bias and softplus
  float* grad_b = nullptr;        // [rows, heads], overwritten
  float* grad_dt_bias = nullptr;  // [heads], overwritten
  float* grad_a_log = nullptr;    // [heads], overwritten: with respect to A_log
  float* workspace = nullptr;     // gated_delta_bwd_workspace(...) floats; the cpu form only
  DeltaShape shape;
};

void gated_delta_fwd_ref(const GatedDeltaFwd& args);
void gated_delta_bwd_ref(const GatedDeltaBwd& args);
void gated_delta_fwd_cpu(const GatedDeltaFwd& args, Parallel& parallel);
// The same a chunk of kDeltaChunk rows at once: products of matrices in place of steps, so another order of
// sums. Training's form: where a sequence is cut into calls shows in the last bits.
void gated_delta_fwd_chunks_cpu(const GatedDeltaFwd& args, Parallel& parallel);
void gated_delta_bwd_cpu(const GatedDeltaBwd& args, Parallel& parallel);

// Floats. Each sequence has ceil(rows / kDeltaChunk) checkpoints of [heads, key_dim, value_dim], those of
// sequence s following those of s - 1.
int64_t gated_delta_checkpoints(const RowRange* sequences, int64_t num_sequences, const DeltaShape& shape);
int64_t gated_delta_fwd_workspace(const DeltaShape& shape, int threads);
// What gated_delta_fwd_chunks_cpu takes as its workspace.
int64_t gated_delta_chunks_workspace(const RowRange* sequences, int64_t num_sequences,
                                     const DeltaShape& shape, int threads);
int64_t gated_delta_bwd_workspace(const RowRange* sequences, int64_t num_sequences, const DeltaShape& shape,
                                  int threads);

}  // namespace fathom::kernels
