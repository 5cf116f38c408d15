// Depthwise causal convolution followed by silu (Mamba, arXiv 2312.00752; Decoder-Hybrid-Decoder 2.2):
//
//   y_t[c] = silu(bias[c] + sum_{k < width} weight[c, k] * x_{t - width + 1 + k}[c])
//
// per sequence; inputs before its first row come from its state (or are zero). After the call the state holds
// the last width - 1 inputs, oldest first, so a sequence may be cut into calls anywhere without changing a
// bit.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

struct ConvSequence {
  RowRange rows;
  float* state =
      nullptr;  // [width - 1, channels], read and written; null: starts from zeros, nothing is kept
};

struct CausalConv1dFwd {
  const float* x = nullptr;       // [rows, channels]
  const float* weight = nullptr;  // [channels, width]
  const float* bias = nullptr;    // [channels], or null: none
  float* y = nullptr;             // [rows, channels]; not overlapping x
  const ConvSequence* sequences = nullptr;
  int64_t num_sequences = 0;
  int64_t channels = 0;
  int64_t width = 0;  // >= 1
};

// For sequences that start from zeros (training).
struct CausalConv1dBwd {
  const float* x = nullptr;       // [rows, channels]
  const float* weight = nullptr;  // [channels, width]
  const float* bias = nullptr;    // [channels], or null: none
  const float* grad_y = nullptr;  // [rows, channels]
  const RowRange* sequences = nullptr;
  int64_t num_sequences = 0;
  float* grad_x = nullptr;       // [rows, channels], overwritten
  float* grad_weight = nullptr;  // [channels, width], overwritten
  float* grad_bias = nullptr;    // [channels], overwritten; null without a bias
  int64_t channels = 0;
  int64_t width = 0;
};

void causal_conv1d_fwd_ref(const CausalConv1dFwd& args);
void causal_conv1d_bwd_ref(const CausalConv1dBwd& args);
// Parallel over channels.
void causal_conv1d_fwd_cpu(const CausalConv1dFwd& args, Parallel& parallel);
void causal_conv1d_bwd_cpu(const CausalConv1dBwd& args, Parallel& parallel);

}  // namespace fathom::kernels
