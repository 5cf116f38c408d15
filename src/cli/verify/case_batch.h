// Sequences of a recorded case as a batch of the trainer.
#pragma once

#include <span>

#include "cli/verify/model_case.h"
#include "train/batch.h"

namespace fathom::cli::verify {

// One sequence after another, at the published positions, which count padding in the recursion family.
train::Batch batch_of(const ModelCase& c, std::span<const CaseSequence> sequences);

}  // namespace fathom::cli::verify
