// The pieces of gated_delta that are compiled once per instruction-set level.
#pragma once

#include "kernels/gated_delta/gated_delta.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Columns of a state that one task takes forward: a multiple of every vector width, and the most lanes there
// are.
constexpr int64_t kDeltaLanes = 16;
// Columns whose shares of grad_q and grad_k are summed before anything else: the same on every level.
constexpr int64_t kDeltaColumns = 128;

// Where backward sums up what the columns of a head share: of one block of columns, added into.
struct DeltaPartials {
  float* q = nullptr;      // [rows, heads * key_dim]: with respect to q^
  float* k = nullptr;      // [rows, heads * key_dim]: with respect to k^
  float* alpha = nullptr;  // [rows, heads]
  float* beta = nullptr;   // [rows, heads]
};

// Rows [begin, end) of terms.
FATHOM_SIMD_DECLARE(void, gated_delta_terms_rows, (const GatedDeltaFwd& args, int64_t begin, int64_t end))
// Columns [begin, end) of a head's state, over all sequences; terms are there. `scratch` has key_dim *
// kDeltaLanes floats.
FATHOM_SIMD_DECLARE(void, gated_delta_fwd_columns,
                    (const GatedDeltaFwd& args, int64_t head, int64_t begin, int64_t end, float* scratch))
// Likewise; `scratch` has ((kDeltaChunk + 2) * key_dim + kDeltaChunk) * kDeltaLanes floats.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_columns,
                    (const GatedDeltaBwd& args, int64_t head, int64_t begin, int64_t end,
                     const DeltaPartials& partials, float* scratch))
// Rows [begin, end): grad_q and grad_k, which hold gradients with respect to q^ and k^, become those with
// respect to q and k.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_norms, (const GatedDeltaBwd& args, int64_t begin, int64_t end))
// A head: grad_dt and grad_b, which hold gradients with respect to alpha and beta, become what they are
// called; sums over the rows.
FATHOM_SIMD_DECLARE(void, gated_delta_bwd_terms, (const GatedDeltaBwd& args, int64_t head))

}  // namespace fathom::kernels
