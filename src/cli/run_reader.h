// What a training run left in its directory (docs/formats/run-directory.md), read back.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/parallel.h"
#include "base/result.h"

namespace fathom::cli {

// The name in `directory`/run.json; empty if it has none. Errors: no such file, or it is not JSON.
Result<std::string> run_name(const std::string& directory);

// A line of metrics.jsonl.
struct MetricsEntry {
  std::string kind;  // "step", "evaluation", ...
  double step = 0;
  const nlohmann::json& values;  // the whole line, an object
};

// Hands every line of `directory`/metrics.jsonl to `use`, first to last. A last line without its end is left
// out: the run was killed, or is writing it.
//
// Errors: no such file; a line, named by its number, that is not an object with kind and step, or that `use`
// refuses.
Status read_metrics(const std::string& directory, FunctionRef<Status(const MetricsEntry&)> use);

}  // namespace fathom::cli
