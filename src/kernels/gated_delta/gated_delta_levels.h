// The pieces of gated_delta that are compiled once per instruction-set level.
#pragma once

#include "kernels/common/padded.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Columns of a state that one task takes forward: a multiple of every vector width, and the most lanes there
// are.
constexpr int64_t kDeltaLanes = 16;
// Columns whose shares of grad_q and grad_k are summed before anything else: the same on every level.
constexpr int64_t kDeltaColumns = 128;

// Floats of the scores of a chunk and head: what row t finds stored by row s < t under its key, and what it
// reads of row s <= t, both without beta and each [kDeltaChunk, kDeltaChunk], of which the rows there are,
// padded, have been written.
constexpr int64_t kDeltaScores = 2 * kDeltaChunk * kDeltaChunk;

// Where backward sums up what the columns of a head share: of one block of columns.
struct DeltaPartials {
  float* q =
      nullptr;  // [rows, heads * key_dim]: with respect to q^ by way of the state before a chunk, added into
  float* k =
      nullptr;  // [rows, heads * key_dim]: with respect to k^ by way of those before and behind it, likewise
  float* alpha = nullptr;  // [rows, heads]: what all decays from the chunk's start to the row share, likewise
  float* beta = nullptr;   // [rows, heads]: with respect to beta and the decays behind the row, likewise
  float* scores = nullptr;  // [chunks, heads, kDeltaScores]: with respect to scores times beta, written
};

// Rows [begin, end) of terms.
FATHOM_SIMD_DECLARE(void, gated_delta_terms_rows, (const GatedDeltaFwd& args, int64_t begin, int64_t end))
// Columns [begin, end) of a head's state, over all sequences; terms are there. `scratch` has key_dim *
// kDeltaLanes floats.
FATHOM_SIMD_DECLARE(void, gated_delta_fwd_columns,
                    (const GatedDeltaFwd& args, int64_t head, int64_t begin, int64_t end, float* scratch))
// The forms by chunks; `scratch` has the floats of a block's matrices.
struct DeltaKeys {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* terms = nullptr;
  DeltaShape shape;
};
// The scores of one chunk of a head.
FATHOM_SIMD_DECLARE(void, gated_delta_scores,
                    (const DeltaKeys& given, int64_t head, RowRange rows, float* scores, float* scratch))
// Columns [begin, end) of a head's state, at most kDeltaColumns, of one sequence.
struct DeltaBlock {
  int64_t head, begin, end;
  int64_t sequence;
  int64_t chunk;  // the number of its first chunk
};
// `scores` has [chunks, heads].
FATHOM_SIMD_DECLARE(void, gated_delta_fwd_chunks,
                    (const GatedDeltaFwd& args, const DeltaBlock& place, const float* scores, float* scratch))
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_chunks,
                    (const GatedDeltaBwd& args, const DeltaBlock& place, const float* scores,
                     const DeltaPartials& partials, float* scratch))
// One chunk of a head when the partials are summed up in grad_q, grad_k, grad_dt (alpha), grad_b (beta) and
// grad_scores: the first two become gradients with respect to q^ and k^, the others with respect to log alpha
// and beta. grad_scores is overwritten.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_scores,
                    (const GatedDeltaBwd& args, int64_t head, RowRange rows, const float* scores,
                     float* grad_scores, float* scratch))
// Rows [begin, end): grad_q and grad_k, which hold gradients with respect to q^ and k^, become those with
// respect to q and k.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_norms, (const GatedDeltaBwd& args, int64_t begin, int64_t end))
// A head: grad_dt and grad_b, which hold gradients with respect to log alpha and beta, become what they are
// called; sums over the rows.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_terms, (const GatedDeltaBwd& args, int64_t head))

}  // namespace fathom::kernels
