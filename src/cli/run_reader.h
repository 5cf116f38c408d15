// What a training run left in its directory (docs/formats/run-directory.md), read back.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/run_log.h"

namespace fathom::cli {

// The name in `directory`/run.json; empty if it has none. Errors: no such file, or it is not JSON.
Result<std::string> run_name(const std::string& directory);

// A line of metrics.jsonl.
struct MetricsEntry {
  std::string kind;  // "step", "evaluation", ...
  double step = 0;
  const nlohmann::json& values;  // the whole line, an object
};

// Hands every line of the content of a metrics.jsonl to `use`, first to last. A last line without its end is
// left out: the run was killed, or is writing it.
//
// Errors: a line, named by its number, that is not JSON of at most 1 MiB, is not an object with a kind and a
// step, or that `use` refuses.
Status parse_metrics(std::string_view content, FunctionRef<Status(const MetricsEntry&)> use);

// The same of `directory`/metrics.jsonl, which must be there; the path in front of errors.
Status read_metrics(const std::string& directory, FunctionRef<Status(const MetricsEntry&)> use);

// The lines of a metrics.jsonl, for one walk through it from its start. Lines that are not JSON count as
// torn. Errors, named by the line: an object without a kind and a step.
RunLog::NextRecord metrics_records();

}  // namespace fathom::cli
