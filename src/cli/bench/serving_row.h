// A serving run as a row (row.h), and rows of serving runs as text.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/output.h"
#include "cli/bench/serving.h"

namespace fathom::cli::bench {

// What one serving run had to go by, and what came of it.
struct ServingRun {
  Load load;
  int64_t max_sequences = 0;
  int64_t state_budget = 0, prefix_cache = 0;  // bytes
  ServingResult result{};
  SchedulerCounts counts{};
  int64_t most_state_bytes = 0;
};

// Keys and units: docs/benchmarks/README.md. Names that vLLM's `bench serve` has mean here what they mean
// there. Of latencies that nobody has measured the values are null.
Json serving_row_of(const Environment& environment, const ModelFacts& facts, const ServingRun& run);

// As to_text(), but for the table.
std::string serving_text(const std::vector<Json>& rows, Format format);

}  // namespace fathom::cli::bench
