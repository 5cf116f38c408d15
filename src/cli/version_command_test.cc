// The version, asked for in two ways.
#include <gmock/gmock.h>

#include "cli/command_testing.h"

namespace fathom::cli::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

TEST(VersionCommand, TheFlagSaysWhatTheCommandSaysFirst) {
  const Outcome flag = run_fathom("--version"), command = run_fathom("version");
  EXPECT_EQ(flag.code, 0);
  EXPECT_EQ(command.code, 0);
  EXPECT_THAT(flag.text, MatchesRegex("fathom [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(flag.text, command.text);
  const Outcome verbose = run_fathom("version --verbose");
  EXPECT_THAT(verbose.text, StartsWith(flag.text));
  EXPECT_THAT(verbose.text, HasSubstr("kernels "));
}

TEST(VersionCommand, OutputThatCannotBeWrittenIsAFailure) {
  for (const char* words : {"version", "--version", "--help", "plan mor-360m-nr3"}) {
    const Outcome outcome = run_fathom(words, "2>&1 >/dev/full");
    EXPECT_EQ(outcome.code, 1) << words;
    EXPECT_EQ(outcome.text, "fathom: standard output: writing failed\n") << words;
  }
}

}  // namespace
}  // namespace fathom::cli::testing
