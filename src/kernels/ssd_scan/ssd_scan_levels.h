// The pieces of ssd_scan that are compiled once per instruction-set level.
#pragma once

#include "kernels/simd/dispatch.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom::kernels {

// Heads whose shares of grad_b and grad_c are summed before anything else: the same on every level.
constexpr int64_t kSsdHeads = 4;

// Rows [begin, end) of rates.
FATHOM_SIMD_DECLARE(void, ssd_scan_rates_rows, (const SsdScanFwd& args, int64_t begin, int64_t end))
// Channels [begin, end) of all sequences; rates are there.
FATHOM_SIMD_DECLARE(void, ssd_scan_fwd_channels, (const SsdScanFwd& args, int64_t begin, int64_t end))
// Heads [begin, end) of one group; their shares of grad_b and grad_c, [rows, groups * state] of which the
// group has its columns, are added into partial_b and partial_c.
FATHOM_SIMD_DECLARE(void, ssd_scan_bwd_heads,
                    (const SsdScanBwd& args, int64_t begin, int64_t end, float* partial_b, float* partial_c))

}  // namespace fathom::kernels
