// The pieces of selective_scan that are compiled once per instruction-set level.
#pragma once

#include "kernels/selective_scan/selective_scan.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Channels whose shares of grad_b and grad_c are summed before anything else: the same on every level.
constexpr int64_t kScanChannels = 64;

// Channels [begin, end) of all sequences.
FATHOM_SIMD_DECLARE(void, selective_scan_fwd_channels,
                    (const SelectiveScanFwd& args, int64_t begin, int64_t end))
// Likewise; shares of grad_b and grad_c, [rows, state] each, are added into partial_b and partial_c.
FATHOM_SIMD_DECLARE(void, selective_scan_bwd_channels,
                    (const SelectiveScanBwd& args, int64_t begin, int64_t end, float* partial_b,
                     float* partial_c))

}  // namespace fathom::kernels
