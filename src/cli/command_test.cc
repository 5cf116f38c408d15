// Command lines, as every program of Fathom takes them.
#include "cli/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace fathom::cli {
namespace {

using ::testing::HasSubstr;

Action declare_count(CLI::App& app) {
  auto number = std::make_shared<int>(0);
  app.add_option("--number", *number)->required()->check(at_least(2));
  return [number]() -> Result<int> {
    if (*number == 13) return invalid("13 brings no luck");
    if (*number == 14) return not_supported("not supported yet: 14");
    return kExitOk;
  };
}

struct Outcome {
  int code;
  std::string out, err;
};

Outcome run(std::vector<std::string> words) {
  words.insert(words.begin(), "fathom");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = run_commands("fathom", "A program.", {{"count", "counts", declare_count}},
                                static_cast<int>(argv.size()), argv.data());
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
      {{"count", "--number", "1"}, kExitUsage, "'1' is not a number of at least 2"},
      {{"count", "--number", "-inf"}, kExitUsage, "is not a number of at least 2"},
      {{"count", "--number", "3x"}, kExitUsage, "'3x' is not a number of at least 2"},
      {{"count", "--number", "2", "--other"}, kExitUsage, "--other"},
      {{"--other"}, kExitUsage, "fathom: "},
      {{"count", "--number", "13"}, kExitFailure, "fathom: 13 brings no luck\n"},
      {{"count", "--number", "14"}, kExitNotSupported, "fathom: not supported yet: 14\n"},
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

TEST(Command, WhatFitsRuns) { EXPECT_EQ(run({"count", "--number", "2"}).code, kExitOk); }

}  // namespace
}  // namespace fathom::cli
