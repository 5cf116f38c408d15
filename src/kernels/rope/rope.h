// Rotary position embedding (Su et al. 2021) in the half-split layout of Llama: with c = head_dim, i < c/2,
//
//   angle[p, i] = p * theta^(-2 i / c)                       (computed in float, as the published code does)
//   (x_i, x_{i + c/2}) <- (x_i cos - x_{i + c/2} sin, x_{i + c/2} cos + x_i sin)
//
// Tables hold cos and sin of every position; the published SambaY code rounds them to bfloat16, and a
// model turned to bfloat16 as a whole has rounded frequencies theta^(-2 i / c): fields of the plan. The
// backward pass is the rotation by the opposite angle (inverse = true).
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

// Fills cos and sin, [positions, head_dim / 2] each.
void rope_table(float* cos, float* sin, int64_t positions, int64_t head_dim, double theta, bool round_to_bf16,
                bool round_frequencies_to_bf16 = false);

struct RopeFwd {
  float* x = nullptr;                  // [rows, heads, head_dim], rotated in place, rows x_stride apart
  const int32_t* positions = nullptr;  // [rows], each below table_positions (FATHOM_CHECK)
  const float* cos = nullptr;          // [table_positions, head_dim / 2]
  const float* sin = nullptr;
  int64_t table_positions = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;  // even
  int64_t x_stride = 0;  // elements
  bool inverse = false;
};

void rope_fwd_ref(const RopeFwd& args);
void rope_fwd_cpu(const RopeFwd& args, Parallel& parallel);

}  // namespace fathom::kernels
