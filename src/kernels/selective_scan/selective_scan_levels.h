// The pieces of selective_scan that are compiled once per instruction-set level.
#pragma once

#include "kernels/selective_scan/selective_scan.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// Channels whose shares of grad_b and grad_c are summed before anything else: the same on every level.
constexpr int64_t kScanChannels = 64;

// The most channels that are taken through time together: the wider, the fewer pages a row is spread over.
constexpr int64_t kScanWidth = 4 * kScanChannels;

// Channels [begin, end) of all sequences.
FATHOM_SIMD_DECLARE(void, selective_scan_fwd_channels,
                    (const SelectiveScanFwd& args, int64_t begin, int64_t end))
// Likewise, at most kScanWidth from a multiple of kScanChannels on; shares of grad_b and grad_c, [rows,
// state] each, of every kScanChannels of them are added into partial_b and partial_c, partial_size floats
// apart.
FATHOM_SIMD_DECLARE(void, selective_scan_bwd_channels,
                    (const SelectiveScanBwd& args, int64_t begin, int64_t end, int64_t partial_size,
                     float* partial_b, float* partial_c))

}  // namespace fathom::kernels
