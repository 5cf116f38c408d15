// Recorded steps of AdamW as the published code of the hybrids makes them: a schedule looked up for each
// micro-batch, groups of parameters by the parametrisation.
#pragma once

#include "base/result.h"
#include "cli/verify/model_case.h"
#include "cli/verify/report.h"

namespace fathom::cli::verify {

// Trains from the case's weights on its rows. Compares learning rates, the group of every parameter, losses
// of micro-batches, gradient norms before clipping, and parameters after each step.
Status verify_optimizer_steps(ModelCase& c, Report& report);

}  // namespace fathom::cli::verify
