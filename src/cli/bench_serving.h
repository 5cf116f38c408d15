// fathom bench --requests: a load of requests through the scheduler.
#pragma once

#include <atomic>
#include <optional>

#include "base/clock.h"
#include "cli/bench/serving_row.h"
#include "cli/command.h"
#include "cli/numeric_flags.h"

namespace fathom::cli {

class ServingFlags {
 public:
  // Declares --requests and what belongs to it. `app` outlives the object.
  explicit ServingFlags(CLI::App& app);

  bool given() const { return app_.count("--requests") > 0; }
  // Error: a flag of tests beside --requests, or one of serving without it.
  Status check() const;

  // One run on a model. Memory is asked for in `model`'s name.
  Result<bench::ServingRun> run(const bench::BenchModel& model, DType kv_type, const Numerics& numerics,
                                int64_t chunk, Parallel& parallel, bool progress,
                                const std::atomic<bool>& stop) const;

 private:
  const CLI::App& app_;
  bench::Load load_;
  int64_t max_sequences_ = 64;
  uint64_t memory_ = 0;        // 0: what is free
  uint64_t prefix_cache_ = 0;  // of it
};

}  // namespace fathom::cli
