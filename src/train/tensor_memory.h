// Where LibTorch's tensors live.
#pragma once

namespace fathom::train {

// From now on tensors of the process lie in one ArrayArena that lives as long as the process.
void use_arena_for_tensors();

}  // namespace fathom::train
