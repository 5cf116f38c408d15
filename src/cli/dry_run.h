// fathom train --dry-run: what a run is, needs and takes, before it is started.
#pragma once

#include <atomic>
#include <vector>

#include "base/result.h"
#include "train/loop.h"

namespace fathom::cli {

// Rehearses the run: everything that run_training() checks is checked, then the model's layers, the data, an
// estimate of the memory and, unless `timing` is off, of the time from a few steps are printed to standard
// output. Text that has no token shards in the run's directory yet is turned into tokens in a temporary
// folder, which is removed: for a run that begins, only some of a lot of text, and numbers that depend on it
// are estimates and say so. Nothing else is written.
//
// The work is done in a process forked for it, and the one that calls removes the folder however that ended.
// Both return: the one that works with what became of the rehearsal, the other with its exit code. SIGINT and
// SIGTERM end it at once: kCancelled. To be called before there are threads.
Result<int> dry_run(train::RunRequest request, bool timing);

}  // namespace fathom::cli
