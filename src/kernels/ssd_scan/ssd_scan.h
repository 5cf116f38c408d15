// The scan of Mamba-2 (arXiv 2405.21060, eq. 1 with a scalar decay for each head; Decoder-Hybrid-Decoder
// 2.7). Head i has `head_dim` channels p and reads B and C of group g = i / (heads / groups):
//
//   delta_t[i]    = softplus(dt_t[i] + dt_bias[i])                      softplus(a) = a for a > 20
//   h_t[i, p, n]  = exp(delta_t[i] a[i]) h_{t-1}[i, p, n] + delta_t[i] x_t[i, p] b_t[g, n]
//   y_t[i, p]     = sum_n c_t[g, n] h_t[i, p, n] + d[i] x_t[i, p]
//
// y is taken before the output gate and its norm: it is the memory that gated memory units read. Sequential
// in time, parallel over channels (i, p): a sequence may be cut into calls anywhere without changing a bit.
// Backward, and a forward form for training, take a chunk of rows at once. State is float.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

// Rows of a chunk: backward starts from states kept every kSsdChunk rows.
constexpr int64_t kSsdChunk = 64;

struct SsdSequence {
  RowRange rows;
  float* state = nullptr;  // [heads, head_dim, state], read and written; null: from zeros, nothing is kept
};

struct SsdShape {
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t state = 0;
  int64_t groups = 1;    // divides heads
  int64_t x_stride = 0;  // elements between rows of x, of b and of c: they may be columns of one array
  int64_t inner() const { return heads * head_dim; }
};

struct SsdScanFwd {
  const float* x = nullptr;        // [rows, heads * head_dim]: the convolution's output
  const float* b = nullptr;        // [rows, groups * state], likewise
  const float* c = nullptr;        // [rows, groups * state], likewise
  const float* dt = nullptr;       // [rows, heads], dense, without bias
  const float* dt_bias = nullptr;  // [heads]
  const float* a = nullptr;        // [heads]: -exp(A_log)
  const float* d = nullptr;        // [heads]
  float* y = nullptr;              // [rows, heads * head_dim], dense; overlapping no input
  const SsdSequence* sequences = nullptr;
  int64_t num_sequences = 0;
  float* rates = nullptr;        // [rows, 2 * heads], written: delta and exp(delta a), for backward
  float* checkpoints = nullptr;  // ssd_scan_checkpoints(...) floats for backward, or null
  float* workspace = nullptr;    // ssd_scan_chunks_workspace(...) floats; the form by chunks only
  SsdShape shape;
};

// For sequences that start from zeros (training).
struct SsdScanBwd {
  const float* x = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  const float* dt = nullptr;
  const float* dt_bias = nullptr;
  const float* a = nullptr;
  const float* d = nullptr;
  const float* grad_y = nullptr;       // [rows, heads * head_dim], dense
  const float* rates = nullptr;        // from forward
  const float* checkpoints = nullptr;  // from forward
  const RowRange* sequences = nullptr;
  int64_t num_sequences = 0;
  float* grad_x = nullptr;        // [rows, heads * head_dim], rows grad_x_stride apart, overwritten
  float* grad_b = nullptr;        // [rows, groups * state], dense, overwritten
  float* grad_c = nullptr;        // [rows, groups * state], dense, overwritten
  float* grad_dt = nullptr;       // [rows, heads], dense, overwritten: before bias and softplus
  float* grad_dt_bias = nullptr;  // [heads], overwritten
  float* grad_a_log = nullptr;    // [heads], overwritten: with respect to A_log
  float* grad_d = nullptr;        // [heads], overwritten
  float* workspace = nullptr;     // ssd_scan_bwd_workspace(...) floats; the cpu form only
  SsdShape shape;
  int64_t grad_x_stride = 0;  // elements
};

void ssd_scan_fwd_ref(const SsdScanFwd& args);
void ssd_scan_bwd_ref(const SsdScanBwd& args);
void ssd_scan_fwd_cpu(const SsdScanFwd& args, Parallel& parallel);
// The same a chunk of kSsdChunk rows at once: products of matrices in place of steps, so another order of
// sums. Training's form: where a sequence is cut into calls shows in the last bits.
void ssd_scan_fwd_chunks_cpu(const SsdScanFwd& args, Parallel& parallel);
void ssd_scan_bwd_cpu(const SsdScanBwd& args, Parallel& parallel);

// Floats. Each sequence has ceil(rows / kSsdChunk) checkpoints of [heads, head_dim, state], those of sequence
// s following those of s - 1.
int64_t ssd_scan_checkpoints(const RowRange* sequences, int64_t num_sequences, const SsdShape& shape);
int64_t ssd_scan_chunks_workspace(const SsdShape& shape, int threads);
// `rows` is one past the last row of any sequence.
int64_t ssd_scan_bwd_workspace(int64_t rows, int64_t num_sequences, const SsdShape& shape, int threads);

}  // namespace fathom::kernels
