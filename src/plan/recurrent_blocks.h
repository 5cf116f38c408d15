// Sizes of the mixers that carry a state from token to token (Decoder-Hybrid-Decoder, 2.7).
#pragma once

#include <cstdint>

#include "plan/model_plan.h"

namespace fathom {

// The inner width of Mamba-2: the next multiple of mamba2_inner_multiple.
int64_t mamba2_inner(const ModelSpec& spec);

// Heads of Gated DeltaNet: as many keys as fill three quarters of the width, rounded up.
int64_t gated_delta_heads(const ModelSpec& spec);

// What a mixer keeps of a sequence: a slot without name. The convolutions of q, k and v of Gated DeltaNet
// have their inputs one after another, [conv - 1, keys] twice and [conv - 1, values].
Slot state_of(const Mamba& mamba);
Slot state_of(const Mamba2& mamba);
Slot state_of(const GatedDelta& delta);

}  // namespace fathom
