// metrics.csv: a table that spreadsheets and data frames read. A line after each step, and one after each
// evaluation with the columns that an evaluation knows; columns without a value are empty.
#pragma once

#include <string>
#include <vector>

#include "cli/run_log.h"
#include "io/event_file.h"

namespace fathom::cli {

class MetricsTable {
 public:
  // Columns: "step" (steps done), then those named, which hold no comma. A file that goes on keeps the
  // columns that it has: what it has no column for is left out.
  static Result<MetricsTable> open(const std::string& path, int64_t steps_done,
                                   const std::vector<std::string>& columns);
  // `tag` is a column, or ends in "/column".
  Status append(int64_t steps_done, const std::vector<EventScalar>& scalars);
  Status sync() { return log_.sync(); }

 private:
  MetricsTable(RunLog log, std::vector<std::string> columns)
      : log_(std::move(log)), columns_(std::move(columns)) {}
  RunLog log_;
  std::vector<std::string> columns_;
};

// "train/loss" -> "loss".
std::string column_of(const std::string& tag);

}  // namespace fathom::cli
