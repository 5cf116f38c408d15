// A load through a scheduler, timed as those see it who sent the requests.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "cli/bench/load.h"
#include "engine/scheduler.h"

namespace fathom::cli::bench {

struct ServingResult {
  int64_t completed = 0;                          // requests that have all their tokens
  int64_t input_tokens = 0;                       // of prompts that were read whole
  int64_t output_tokens = 0;                      // that were drawn, of whatever request
  double seconds = 0;                             // of the whole run
  std::vector<double> first_token, between, all;  // seconds: to a first token, to each next one, to the last
  int64_t most_running = 0;                       // sequences in one pass
  bool stopped = false;                           // before all requests were done
};

// Where the world outside comes in.
struct ServingHooks {
  Clock& clock;
  std::function<void(double seconds)> wait;             // may come back earlier
  const std::atomic<bool>& stop;                        // once it is true, what was measured is the result
  std::function<void(const ServingResult&)> on_pass{};  // sees the time pass by
};

// Sends the load's requests when they arrive, and while `load.concurrency` are under way when one of them has
// ended, and steps until all are done. A text has all its tokens, the most probable one each time. Given the
// seed and what the clock says, all decisions are the same. `scheduler` is fresh, and has nothing in line
// afterwards. Errors: a request that the scheduler refuses, or logits that are not finite.
Result<ServingResult> serve(Scheduler& scheduler, const Load& load, int64_t vocab, const ServingHooks& hooks);

}  // namespace fathom::cli::bench
