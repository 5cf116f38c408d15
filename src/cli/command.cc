#include "cli/command.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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

// What is wrong with the command line, without a command to ask.
int refuse_command(const CLI::App& app, const std::string& program, const std::vector<Command>& commands,
                   const std::string& word) {
  if (word.empty()) {
    std::cerr << app.help();
    return kExitUsage;
  }
  std::string names;
  for (const Command& command : commands) names += (names.empty() ? "" : ", ") + std::string(command.name);
  std::cerr << program << ": unknown command '" << word << "', expected one of " << names << "\n";
  return kExitUsage;
}

}  // namespace

CLI::Validator at_least(double least) {
  char bound[32];
  std::snprintf(bound, sizeof bound, "%g", least);
  return CLI::Validator(
      [least, text = std::string(bound)](std::string& value) {
        char* end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        const bool fits = end != value.c_str() && *end == '\0' && number >= least;
        return fits ? std::string() : "'" + value + "' is not a number of at least " + text;
      },
      ">= " + std::string(bound));
}

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
  const std::string word = argc > 1 ? argv[1] : "";
  const bool known = std::ranges::any_of(commands, [&](const Command& c) { return word == c.name; });
  if (!known && !word.starts_with('-')) return refuse_command(app, program, commands, word);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
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

}  // namespace fathom::cli
