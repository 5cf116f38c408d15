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
  std::string text;  // standard output, if captured
};

// Runs fathom-train with these arguments and waits. `capture` collects its standard output (at most 64 MB);
// otherwise it writes to ours. Ctrl-C reaches both processes.
Result<ProcessOutput> run_trainer(const std::string& trainer, const std::vector<std::string>& arguments,
                                  bool capture);

}  // namespace fathom::cli
