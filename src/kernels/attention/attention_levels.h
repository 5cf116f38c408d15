// The pieces of attention that are compiled once per instruction-set level.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// A softmax not yet divided: value = acc / total, in units of 2^max.
struct SoftmaxPart {
  float max;
  float total;
};

// Neighbouring rows of one sequence with all query heads of one unit of KV heads. A query is a (row, head)
// pair; queries are numbered stripe by stripe, in each of them row by row, head by head.
struct AttentionTile {
  int64_t row_begin;
  int64_t row_end;
  int64_t unit;
  int64_t pairs;  // heads of a stripe: of the unit's heads, every `stripes`th
  // Floats from one query to the next in scratch: head_dim, and stripes of it, rounded up to whole vectors.
  int64_t padded;
  int64_t value_padded;
};

// The most queries that are multiplied at a time, and the most lanes of a vector.
constexpr int64_t kStepQueries = 6;
constexpr int64_t kMostLanes = 16;

// Scratch of one worker, each piece on a cache line of its own.
struct AttentionFwdScratch {
  float* q;       // [queries, padded], in units of log2: multiplied by scale / ln 2
  float* k;       // [padded, kKeyBlock]: keys of one stripe are columns
  float* v;       // [kKeyBlock, value_padded]
  float* scores;  // [kStepQueries, kKeyBlock]
  float* totals;  // [queries, kMostLanes]: the sum of exponentials, lane by lane
};
struct AttentionBwdScratch {
  float* q;          // [queries, padded], as above
  float* grad_out;   // [queries, value_padded]
  float* grad_q;     // [kStepQueries, padded]
  float* k;          // [kKeyBlock, padded], of one stripe
  float* k_columns;  // [padded, kKeyBlock]
  float* v_columns;  // [value_padded, kKeyBlock]
  float* p;          // [queries, kKeyBlock]
  float* ds;         // [queries, kKeyBlock]
  float* grad_k;     // [kKeyBlock, padded]
  float* grad_v;     // [kKeyBlock, value_padded]
  float* pairs;      // [kStepQueries, max(value_padded, kKeyBlock) / 2]: a step's rows as pairs of bfloat16
};

// The tile over those keys of [key_begin, key_end), a part of one split, that each of its rows sees. Fills
// parts [queries] and acc [queries, value_padded].
FATHOM_SIMD_DECLARE(void, attention_tile,
                    (const AttentionFwd& args, const AttentionTile& tile, int64_t key_begin, int64_t key_end,
                     const AttentionFwdScratch& scratch, SoftmaxPart* parts, float* acc))
// Adds a later part to an earlier one.
FATHOM_SIMD_DECLARE(SoftmaxPart, attention_merge,
                    (SoftmaxPart earlier, float* earlier_acc, SoftmaxPart later, const float* later_acc,
                     int64_t value_dim))
// out = acc / total.
FATHOM_SIMD_DECLARE(void, attention_finish,
                    (SoftmaxPart part, const float* acc, float* out, int64_t value_dim))

// delta[r, h] = out[r, h] . grad_out[r, h], and zeros in grad_q, for rows [begin, end).
FATHOM_SIMD_DECLARE(void, attention_bwd_delta_rows,
                    (const AttentionBwd& args, int64_t begin, int64_t end, float* delta))
// All query rows of a sequence against the block of its keys [base, base + keys): overwrites the block's
// grad_k and grad_v of the unit and adds to grad_q [rows, heads, head_dim]. Tiles have at most `tile_rows`
// rows.
FATHOM_SIMD_DECLARE(void, attention_bwd_block,
                    (const AttentionBwd& args, int64_t sequence, int64_t unit, int64_t base,
                     int64_t tile_rows, const float* delta, const AttentionBwdScratch& scratch,
                     float* grad_q))
// to[i] += from[i].
FATHOM_SIMD_DECLARE(void, attention_add, (float* to, const float* from, int64_t count))

}  // namespace fathom::kernels
