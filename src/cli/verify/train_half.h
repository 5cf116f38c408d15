// The training half of verification: losses, selections, logits and every gradient of one forward and
// backward pass.
#pragma once

#include "base/result.h"
#include "cli/verify/model_case.h"
#include "cli/verify/report.h"

namespace fathom::cli::verify {

Status verify_in_trainer(ModelCase& c, Report& report);

}  // namespace fathom::cli::verify
