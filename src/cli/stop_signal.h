// Ctrl-C (SIGINT) and SIGTERM during work that is to end in good order.
#pragma once

#include <atomic>

#include "base/result.h"

namespace fathom::cli {

// From now on the first signal sets `stop` and says on stderr "stopping: `what_follows`; ..." (both live as
// long as the process); a second one ends the process at once, by the signal itself. Repeats within a tenth
// of a second count as one: whoever signals a process and then its group (timeout, batch systems) does not
// mean two.
void catch_stop_signals(std::atomic<bool>& stop, const char* what_follows);

// Between two pieces of work: an error of kind kCancelled once `stop` is set.
Status cancelled_if(const std::atomic<bool>& stop);

}  // namespace fathom::cli
