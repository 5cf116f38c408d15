// Training runs in processes that are forked instead of started: LibTorch is loaded once for thousands of
// runs, and the child can be made to die, or its disk to fail, at any operation of the file seam.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"

namespace fathom::testing {

struct Operation {
  FileOp kind = FileOp::kOpen;
  std::string path;  // cut to some 200 bytes
};

std::string to_string(const Operation& operation);

struct ForkedRun {
  int exit_code = -1;
  bool killed = false;  // by SIGKILL; any other signal is an exit code of 128 + signal
  std::string text;     // of both streams
  std::vector<Operation> operations;
};

// Sees each operation in the child before it happens, with its number from 0.
using Fault = std::function<FileOutcome(int64_t number, const Operation& operation)>;

// As `fathom-train run ARGUMENTS`. The caller has used neither threads nor LibTorch.
ForkedRun run_forked(const std::vector<std::string>& arguments, const Fault& fault = {});
// Killed after `seconds`, unless it has ended by then.
ForkedRun run_forked_for(double seconds, const std::vector<std::string>& arguments);

// Dies at operation `number`, before it happens; or, if it is a write and `torn`, after a part of it.
Fault die_at(int64_t number, bool torn);

}  // namespace fathom::testing
