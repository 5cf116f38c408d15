// Starting `fathom-train`, which lies beside `fathom`, for what needs LibTorch.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fathom::cli {

// Path of fathom-train, or kNotFound with the sentence to print (exit code kExitNoTrainer).
Result<std::string> find_trainer();

struct ProcessOutput {
  int exit_code = 0;
  std::string text;  // standard output
};

// Becomes fathom-train with these arguments, which then gets all signals itself. Returns only if that fails.
Error become_trainer(const std::string& trainer, const std::vector<std::string>& arguments);

// Runs fathom-train with these arguments, waits, and collects its standard output (at most 64 MB). Ctrl-C
// reaches both processes.
Result<ProcessOutput> run_trainer(const std::string& trainer, const std::vector<std::string>& arguments);

}  // namespace fathom::cli
