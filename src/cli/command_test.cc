// Command lines, as every program of Fathom takes them.
#include "cli/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/flag_checks.h"

namespace fathom::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Action declare_count(CLI::App& app) {
  auto number = std::make_shared<int>(0);
  app.add_option("--number", *number)->required()->check(at_least(2));
  return [number]() -> Result<int> {
    if (*number == 13) return invalid("13 brings no luck");
    if (*number == 14) return not_supported("not supported yet: 14");
    if (*number == 15) return wrong_usage("15 is for --other");
    std::cout << *number << " counted\n";
    return kExitOk;
  };
}

struct Outcome {
  int code;
  std::string out, err;
};

int exit_code(std::vector<std::string> words) {
  words.insert(words.begin(), "fathom");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return run_commands("fathom", "A program.", {{"count", "counts", declare_count}},
                      static_cast<int>(argv.size()), argv.data());
}

Outcome run(const std::vector<std::string>& words) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = exit_code(words);
  return {code, ::testing::internal::GetCapturedStdout(), ::testing::internal::GetCapturedStderr()};
}

TEST(Command, WhatIsRefusedIsSaidInOneLine) {
  const struct {
    std::vector<std::string> words;
    int code;
    const char* message;
  } cases[] = {
      {{"nope"}, kExitUsage, "fathom: unknown command 'nope', expected one of count\n"},
      {{"count"},
       kExitUsage,
       "fathom count: --number is required; fathom count --help lists what there is\n"},
      {{"count", "--number", "1"}, kExitUsage, "'1' is not a finite number of at least 2"},
      {{"count", "--number", "-inf"}, kExitUsage, "is not a finite number of at least 2"},
      {{"count", "--number", "3x"}, kExitUsage, "'3x' is not a finite number of at least 2"},
      {{"count", "--number", "2", "--other"}, kExitUsage, "--other"},
      {{"--other"}, kExitUsage, "fathom: unknown flag '--other', expected one of count\n"},
      {{"--other", "count"}, kExitUsage, "fathom: unknown flag '--other', expected one of count\n"},
      {{"-x"}, kExitUsage, "fathom: unknown flag '-x', expected one of count\n"},
      {{"count", "--number", "13"}, kExitFailure, "fathom: 13 brings no luck\n"},
      {{"count", "--number", "14"}, kExitNotSupported, "fathom: not supported yet: 14\n"},
      {{"count", "--number", "15"}, kExitUsage, "fathom: 15 is for --other\n"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = run(c.words);
    EXPECT_EQ(outcome.code, c.code) << c.message;
    EXPECT_THAT(outcome.err, HasSubstr(c.message));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Command, HelpIsNoError) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.code, kExitOk);
  EXPECT_THAT(outcome.out, HasSubstr("counts"));
}

TEST(Command, WithoutAWordTheHelpIsShown) {
  const Outcome outcome = run({});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.err, HasSubstr("counts"));
}

TEST(Command, TheVersionNeedsNoCommand) {
  const Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.code, kExitOk);
  EXPECT_EQ(outcome.out, version_of("fathom") + "\n");
  EXPECT_THAT(version_of("fathom-train"), StartsWith("fathom-train "));
}

TEST(Command, WhatFitsRuns) {
  const Outcome outcome = run({"count", "--number", "2"});
  EXPECT_EQ(outcome.code, kExitOk);
  EXPECT_EQ(outcome.out, "2 counted\n");
}

// In a process whose standard output is a full disk.
Outcome run_on_full_disk(const std::vector<std::string>& words) {
  ::testing::internal::CaptureStderr();
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO);
    ::_exit(exit_code(words));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, "", ::testing::internal::GetCapturedStderr()};
}

TEST(Command, OutputThatCannotBeWrittenIsAFailure) {
  const std::vector<std::string> cases[] = {{"count", "--number", "2"}, {"--help"}, {"--version"}};
  for (const std::vector<std::string>& words : cases) {
    const Outcome outcome = run_on_full_disk(words);
    EXPECT_EQ(outcome.code, kExitFailure) << words.front();
    EXPECT_EQ(outcome.err, "fathom: standard output: writing failed\n") << words.front();
  }
  const Outcome refused = run_on_full_disk({"count", "--number", "14"});
  EXPECT_EQ(refused.code, kExitNotSupported);
  EXPECT_EQ(refused.err, "fathom: not supported yet: 14\n");
}

}  // namespace
}  // namespace fathom::cli
