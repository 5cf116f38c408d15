// One subcommand of `fathom` or `fathom-train`: it declares its flags on a CLI11 subcommand and says what to
// run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace fathom::cli {

// Exit codes of both binaries (documented in docs/cli.md).
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,       // a check failed, a file was bad, the disk was full
  kExitUsage = 2,         // flags that are unknown, or contradict or lack each other
  kExitNotSupported = 3,  // "not supported yet: X"
  kExitNoTrainer = 4,     // fathom-train is not installed
  kExitInterrupted = 130  // Ctrl-C
};

// A subcommand's action. Returns an exit code, or an error that main() prints as one sentence.
using Action = std::function<Result<int>()>;

// Declares the flags of one subcommand on `app` and returns what runs after parsing. Storage for the flags
// lives in the closure (shared_ptr). One such function per subcommand, in <name>_command.cc.
using Declare = Action (*)(CLI::App& app);

struct Command {
  const char* name;
  const char* summary;
  Declare declare;
};

// "fathom 1.2.3": what `program` answers to --version.
std::string version_of(const std::string& program);

// Parses argv, runs the chosen command, prints "<program>: <sentence>" to stderr on failure. Returns the exit
// code; output that could not be written is a failure.
int run_commands(const char* program, const char* description, const std::vector<Command>& commands, int argc,
                 char** argv);

}  // namespace fathom::cli
