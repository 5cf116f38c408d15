#include "cli/command.h"

#include <algorithm>
#include <exception>
#include <iostream>

#include "base/isa.h"

#ifndef FATHOM_VERSION
#error "the build defines FATHOM_VERSION"
#endif

namespace fathom::cli {

namespace {

int exit_code_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kNotSupported:
      return kExitNotSupported;
    case ErrorKind::kUsage:
      return kExitUsage;
    case ErrorKind::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailure;
  }
}

// What is wrong with the command line, without a command to ask.
int refuse_command(const CLI::App& app, const std::string& program, const std::vector<Command>& commands,
                   const std::string& word) {
  if (word.empty()) {
    std::cerr << app.help();
    return kExitUsage;
  }
  std::string names;
  for (const Command& command : commands) names += (names.empty() ? "" : ", ") + std::string(command.name);
  std::cerr << program << ": unknown " << (word.starts_with('-') ? "flag" : "command") << " '" << word
            << "', expected one of " << names << "\n";
  return kExitUsage;
}

int parse_and_run(const char* program, const char* description, const std::vector<Command>& commands,
                  int argc, char** argv) {
  CLI::App app{description, program};
  app.require_subcommand(1);
  app.set_version_flag("--version", version_of(program), "print the version");
  app.failure_message(CLI::FailureMessage::simple);
  Action chosen;
  for (const Command& command : commands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    Action action = command.declare(*sub);
    sub->callback([&chosen, action] { chosen = action; });
  }
  const std::string word = argc > 1 ? argv[1] : "";
  const bool known = std::ranges::any_of(commands, [&](const Command& c) { return word == c.name; });
  const bool flag = word.starts_with('-') && app.get_option_no_throw(word) != nullptr;  // --help, --version
  if (!known && !flag) return refuse_command(app, program, commands, word);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string name = known ? std::string(program) + " " + word : program;
    std::cerr << name << ": " << error.what() << "; " << name << " --help lists what there is\n";
    return kExitUsage;
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

}  // namespace

std::string version_of(const std::string& program) { return program + " " FATHOM_VERSION; }

int run_commands(const char* program, const char* description, const std::vector<Command>& commands, int argc,
                 char** argv) {
  const int code = parse_and_run(program, description, commands, argc, argv);
  if (std::cout.flush() || code != kExitOk) return code;
  std::cerr << program << ": standard output: writing failed\n";
  return kExitFailure;
}

}  // namespace fathom::cli
