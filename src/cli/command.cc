#include "cli/command.h"

#include <exception>
#include <iostream>

#include "base/isa.h"

namespace fathom::cli {

namespace {

int exit_code_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kNotSupported:
      return kExitNotSupported;
    case ErrorKind::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailure;
  }
}

}  // namespace

int run_commands(const char* program, const char* description, const std::vector<Command>& commands, int argc,
                 char** argv) {
  CLI::App app{description, program};
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  Action chosen;
  for (const Command& command : commands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    Action action = command.declare(*sub);
    sub->callback([&chosen, action] { chosen = action; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kExitOk : kExitUsage;
  }
  try {
    if (Status status = check_isa_request(); !status.ok()) {
      std::cerr << program << ": " << status.error().message << "\n";
      return kExitUsage;
    }
    Result<int> result = chosen();
    if (result.ok()) return *result;
    std::cerr << program << ": " << result.error().message << "\n";
    return exit_code_of(result.error());
  } catch (const std::exception& error) {
    std::cerr << program << ": " << error.what() << "\n";
    return kExitFailure;
  }
}

}  // namespace fathom::cli
