// Softmax attention of ragged query rows over key lists.
//
//   out[r, h] = sum_j p_j v[j, u],  p = softmax_j(scale * q[r, h] . k[j, g])
//
// Neighbouring KV heads, `stripes` of them, are one unit u, whose value is their values side by side. The
// heads of a unit are neighbours too, and take its keys in turn:
//
//   u = h / (heads / units), g = u * stripes + h mod stripes, units = kv_heads / stripes
//
// stripes = 1 is grouped-query attention (u = g). stripes = 2 are the two maps of differential attention
// (Decoder-Hybrid-Decoder 4.3), kernels/differential_norm takes their difference; keys and values are read
// once.
//
// over the keys j in [key_begin[r], key_end[r]) of the row's sequence. A key is named by its index in the
// list of its sequence, counted from the first key the sequence ever had: causality, windows, cross-attention
// and routed rows are all only ranges of indices. An empty range gives zeros.
//
// Keys lie in blocks of kKeyBlock entries at absolute indices (block b holds entries [b * kKeyBlock, (b + 1)
// * kKeyBlock)); each block has its own address, which makes a contiguous array, a ring and a paged cache the
// same thing. A block outside the visible range of every row may be a null pointer.
//
// Order of sums: a row's range is cut at absolute multiples of kKeySplit; inside a split blocks go in order,
// splits are merged in order. So the bits do not depend on chunking of a prompt, on company, on where blocks
// lie, on threads.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/parallel.h"
#include "kernels/attention/key_block.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

constexpr int64_t kKeySplit = 256;

// The keys and values of one sequence: tables of block addresses.
struct KeyList {
  const void* const* k_blocks = nullptr;
  const void* const* v_blocks = nullptr;
};

// Dropout of probabilities, in training alone: behind the softmax p_j is multiplied by 1 / (1 - share) where
// it is kept and by 0 where it is not; log-sum-exps are those without.
//
//   kept(r, h, j): word j mod 4 of philox(seed, stream, (r * heads + h) * 2^29 + j / 4) >= share * 2^32
struct AttentionDropout {
  float share = 0;  // in [0, 1); 0: nothing is dropped
  uint64_t seed = 0;
  uint64_t stream = 0;
};

struct AttentionFwd {
  const float* q = nullptr;  // [rows, heads, head_dim]
  const int32_t* row_sequence =
      nullptr;                         // [rows], index into `sequences`; null: all rows belong to sequence 0
  const int32_t* key_begin = nullptr;  // [rows]
  const int32_t* key_end = nullptr;    // [rows]
  const KeyList* sequences = nullptr;
  DType kv_type = DType::kF32;  // float or bfloat16
  KeyLayout kv_layout = KeyLayout::kRows;
  float* out = nullptr;  // [rows, heads, stripes * head_dim]; not overlapping q
  float* lse = nullptr;  // [rows, heads] log-sum-exp of the scaled logits, or null
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t stripes = 1;  // divides kv_heads and heads / units
  float scale = 0;
  AttentionDropout dropout{};
  void* workspace = nullptr;  // attention_fwd_workspace(...) bytes; the cpu form only
};

// Backward over contiguous float keys, as training holds them. Query rows of sequence s are query_rows[s],
// its keys are rows key_rows[s] of k and v; key indices count from key_rows[s].begin.
struct AttentionBwd {
  const float* q = nullptr;              // [rows, heads, head_dim]
  const float* k = nullptr;              // [key rows, kv_heads, head_dim]
  const float* v = nullptr;              // [key rows, kv_heads, head_dim]
  const float* out = nullptr;            // [rows, heads, stripes * head_dim], from forward
  const float* lse = nullptr;            // [rows, heads], from forward
  const float* grad_out = nullptr;       // [rows, heads, stripes * head_dim]
  const int32_t* key_begin = nullptr;    // [rows]
  const int32_t* key_end = nullptr;      // [rows]
  const RowRange* query_rows = nullptr;  // [num_sequences]
  const RowRange* key_rows = nullptr;    // [num_sequences]
  int64_t num_sequences = 0;
  float* grad_q = nullptr;  // [rows, heads, head_dim], overwritten
  float* grad_k =
      nullptr;  // [key rows, kv_heads, head_dim], overwritten (rows of no sequence are not touched)
  float* grad_v = nullptr;  // likewise
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t stripes = 1;
  float scale = 0;
  AttentionDropout dropout{};  // as in forward
  // The logits are made again in float, as forward made them; the other four products may take elements
  // rounded to bfloat16, which they do where an instruction multiplies pairs of them, and sum in float. The
  // cpu form only.
  bool bf16 = false;
  void* workspace = nullptr;  // attention_bwd_workspace(...) bytes; the cpu form only
};

void attention_fwd_ref(const AttentionFwd& args);
void attention_bwd_ref(const AttentionBwd& args);

void attention_fwd_cpu(const AttentionFwd& args, Parallel& parallel);
void attention_bwd_cpu(const AttentionBwd& args, Parallel& parallel);

// Bytes; max_keys bounds key_end - key_begin. Monotone in every argument.
struct AttentionExtents {
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t stripes = 1;
  int64_t max_keys = 0;
};
int64_t attention_fwd_workspace(const AttentionExtents& extents, int threads);
int64_t attention_bwd_workspace(const AttentionExtents& extents, int threads);

}  // namespace fathom::kernels
