// Which weights are one, as a file shows it. Two kinds of ties cannot be read off a configuration
// (Mixture-of-Recursions, 8.3, 9.1 and 9.1b): whether the head is the embedding, and whether the recursions
// of expert choice share their attention. Configurations of the published models say the same in all cases.
#pragma once

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_spec.h"

namespace fathom {

// `spec` with tie_word_embeddings and share_attention as the files have them: tied if every stored copy holds
// the same values, apart if one differs. Where a file stores no second copy, the spec's own word stands.
// Errors: the spec has no plan.
Result<ModelSpec> with_stored_ties(const ModelSpec& spec, const WeightFiles& files);

}  // namespace fathom
