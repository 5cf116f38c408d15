// Subcommands of `fathom-train`, which `fathom` starts as a process.
#pragma once

#include "cli/command.h"

namespace fathom::cli {

Action declare_train_bench(CLI::App& app);
Action declare_train_run(CLI::App& app);
Action declare_train_verify(CLI::App& app);

// What main() does; returns the exit code.
int run_train_program(int argc, char** argv);

}  // namespace fathom::cli
