// Selective scan of Mamba-1 (arXiv 2312.00752, eq. 2 with zero-order hold for A;
// Decoder-Hybrid-Decoder 2.2, 2.5):
//
//   delta_t[i] = softplus(dt_t[i] + dt_bias[i])                       softplus(a) = a for a > 20
//   h_t[i, n]  = exp(delta_t[i] a[i, n]) h_{t-1}[i, n] + delta_t[i] b_t[n] x_t[i]
//   y_t[i]     = sum_n c_t[n] h_t[i, n] + d[i] x_t[i]
//
// y is taken before the output gate: it is the memory that gated memory units read. Sequential in time,
// parallel over channels i: a sequence may be cut into calls anywhere without changing a bit. State is float.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

// Backward recomputes h from the states kept every kScanChunk rows.
constexpr int64_t kScanChunk = 32;

struct ScanSequence {
  RowRange rows;
  float* state = nullptr;  // [inner, state], read and written; null: starts from zeros, nothing is kept
};

struct SelectiveScanFwd {
  const float* x = nullptr;        // [rows, inner]: the convolution's output
  const float* dt = nullptr;       // [rows, inner]: dt_proj's output without bias
  const float* dt_bias = nullptr;  // [inner]
  const float* a = nullptr;        // [inner, state]: -exp(A_log)
  const float* b = nullptr;        // [rows, state], rows bc_stride apart
  const float* c = nullptr;        // [rows, state], rows bc_stride apart
  const float* d = nullptr;        // [inner]
  float* y = nullptr;              // [rows, inner]; overlapping no input
  const ScanSequence* sequences = nullptr;
  int64_t num_sequences = 0;
  float* checkpoints = nullptr;  // selective_scan_checkpoints(...) floats for backward, or null
  int64_t inner = 0;
  int64_t state = 0;
  int64_t bc_stride = 0;  // elements
};

// For sequences that start from zeros (training).
struct SelectiveScanBwd {
  const float* x = nullptr;
  const float* dt = nullptr;
  const float* dt_bias = nullptr;
  const float* a = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  const float* d = nullptr;
  const float* grad_y = nullptr;       // [rows, inner]
  const float* checkpoints = nullptr;  // from forward
  const RowRange* sequences = nullptr;
  int64_t num_sequences = 0;
  float* grad_x = nullptr;        // [rows, inner], overwritten
  float* grad_dt = nullptr;       // [rows, inner], overwritten: with respect to dt (before bias and softplus)
  float* grad_dt_bias = nullptr;  // [inner], overwritten
  float* grad_a_log = nullptr;    // [inner, state], overwritten: with respect to A_log
  float* grad_b = nullptr;        // [rows, state], dense, overwritten
  float* grad_c = nullptr;        // [rows, state], dense, overwritten
  float* grad_d = nullptr;        // [inner], overwritten
  float* workspace = nullptr;     // selective_scan_bwd_workspace(...) floats; the cpu form only
  int64_t inner = 0;
  int64_t state = 0;
  int64_t bc_stride = 0;
};

void selective_scan_fwd_ref(const SelectiveScanFwd& args);
void selective_scan_bwd_ref(const SelectiveScanBwd& args);
void selective_scan_fwd_cpu(const SelectiveScanFwd& args, Parallel& parallel);
void selective_scan_bwd_cpu(const SelectiveScanBwd& args, Parallel& parallel);

// Floats. `rows` is the total of all sequences; each sequence has ceil(rows / kScanChunk) checkpoints of
// [inner, state], those of sequence s following those of s - 1.
int64_t selective_scan_checkpoints(const RowRange* sequences, int64_t num_sequences, int64_t inner,
                                   int64_t state);
int64_t selective_scan_bwd_workspace(int64_t rows, int64_t num_sequences, int64_t inner, int64_t state);

}  // namespace fathom::kernels
