// The pieces of ssd_scan that are compiled once per instruction-set level.
#pragma once

#include "kernels/common/padded.h"
#include "kernels/simd/dispatch.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom::kernels {

// Heads of a group that are taken through a chunk together; their shares of grad_b and grad_c are summed
// before anything else. The same on every level.
constexpr int64_t kSsdHeads = 4;

// Rows [begin, end) of rates.
FATHOM_SIMD_DECLARE(void, ssd_scan_rates_rows, (const SsdScanFwd& args, int64_t begin, int64_t end))
// Channels [begin, end) of all sequences; rates are there.
FATHOM_SIMD_DECLARE(void, ssd_scan_fwd_channels, (const SsdScanFwd& args, int64_t begin, int64_t end))

// Heads [begin, end) of one group, at most kSsdHeads, in one sequence.
struct SsdPlace {
  int64_t begin, end;
  int64_t sequence;
  int64_t chunk;  // the number of its first chunk
};
// Where backward puts what is summed afterwards: b and c of one block of heads, the others of one sequence.
struct SsdPartials {
  float* b = nullptr;     // [rows, groups * state]
  float* c = nullptr;     // [rows, groups * state]
  float* rate = nullptr;  // [sequences, heads]: dL/da
  float* skip = nullptr;  // [sequences, heads]: dL/dd
};
// The forms by chunks; rates are there. `scratch` has the floats of the heads' matrices.
FATHOM_SIMD_DECLARE(void, ssd_scan_fwd_chunks,
                    (const SsdScanFwd& args, const SsdPlace& place, float* scratch))
// grad_dt becomes dL/ddelta.
FATHOM_SIMD_DECLARE(void, ssd_scan_bwd_chunks,
                    (const SsdScanBwd& args, const SsdPlace& place, const SsdPartials& partials,
                     float* scratch))
// A head: grad_dt becomes what it is called; sums over the rows.
FATHOM_SIMD_DECLARE(void, ssd_scan_bwd_terms,
                    (const SsdScanBwd& args, int64_t head, const SsdPartials& partials))

}  // namespace fathom::kernels
