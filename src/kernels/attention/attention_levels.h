// The pieces of attention that are compiled once per instruction-set level.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// A softmax not yet divided: value = acc / total, in units of exp(max).
struct SoftmaxPart {
  float max;
  float total;
};

// Neighbouring rows of one sequence with all query heads of one KV head. A query is a (row, head) pair;
// queries are numbered row by row, head by head.
struct AttentionTile {
  int64_t row_begin;
  int64_t row_end;
  int64_t kv_head;
  int64_t padded;  // floats from one query to the next in scratch: head_dim rounded up to whole vectors
};

// Scratch of one worker. Scratch rows are `padded` floats, zero behind head_dim.
struct AttentionFwdScratch {
  float* q;       // [queries, padded]
  float* k;       // [kKeyBlock, padded]
  float* v;       // [kKeyBlock, padded]
  float* scores;  // [kKeyBlock]
};
struct AttentionBwdScratch {
  float* q;         // [queries, padded]
  float* grad_out;  // [queries, padded]
  float* grad_q;    // [queries, padded]
  float* k;         // [kKeyBlock, padded]
  float* v;         // [kKeyBlock, padded]
  float* p;         // [queries, kKeyBlock]
  float* ds;        // [queries, kKeyBlock]
  float* delta;     // [queries]
};

// The tile over those keys of [key_begin, key_end), a part of one split, that each of its rows sees. Fills
// parts [queries] and acc [queries, padded].
FATHOM_SIMD_DECLARE(void, attention_tile,
                    (const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin, int64_t key_end,
                     const AttentionFwdScratch& scratch, SoftmaxPart* parts, float* acc))
// Adds a later part to an earlier one.
FATHOM_SIMD_DECLARE(SoftmaxPart, attention_merge,
                    (SoftmaxPart earlier, float* earlier_acc, SoftmaxPart later, const float* later_acc,
                     int64_t head_dim))
// out = acc / total.
FATHOM_SIMD_DECLARE(void, attention_finish,
                    (SoftmaxPart part, const float* acc, float* out, int64_t head_dim))
// Gradients of the tile's queries; the tile's share of grad_k and grad_v is added to what they hold.
FATHOM_SIMD_DECLARE(void, attention_bwd_tile,
                    (const AttentionBwd& args, const AttentionTile& tile, int64_t first_key_row,
                     const AttentionBwdScratch& scratch))

}  // namespace fathom::kernels
