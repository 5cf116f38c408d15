// Ctrl-C (SIGINT) and SIGTERM during a training run.
#pragma once

#include <atomic>

namespace fathom::cli {

// From now on the first signal sets `stop` (which lives as long as the process) and says so on stderr; a
// second one ends the process at once, by the signal itself. Repeats within a tenth of a second count as one:
// whoever signals a process and then its group (timeout, batch systems) does not mean two.
void catch_stop_signals(std::atomic<bool>& stop);

}  // namespace fathom::cli
