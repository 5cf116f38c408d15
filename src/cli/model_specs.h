// What a user may write where a command wants a model's specification.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "plan/model_spec.h"

namespace fathom::cli {

// A path (TOML file, JSON file, model directory), else the name of a spec in the folder of built-in ones,
// e.g. "mor-360m-nr3" or "tiny/sambay". Not found: the message lists the names.
Result<ModelSpec> find_spec(const std::string& path_or_name);

// Names of the built-in specs, sorted. Empty where their folder is not installed.
std::vector<std::string> built_in_spec_names();

}  // namespace fathom::cli
