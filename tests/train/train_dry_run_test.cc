// A rehearsal says what the run will be, writes nothing, and refuses what the run would refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_run.h"

namespace fathom::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> words(const SmallRun& small, std::vector<std::string> more) {
  std::vector<std::string> all = {FATHOM_BIN_DIR "/fathom", "train", small.recipe(), "--dry-run"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// With a folder of its own for temporary files, which must be empty afterwards.
Output dry_run(const SmallRun& small, const std::vector<std::string>& more) {
  const std::string temporary = small.path("temporary");
  std::filesystem::create_directories(temporary);
  std::string line = "TMPDIR='" + temporary + "' ";
  for (const std::string& word : words(small, more)) line += "'" + word + "' ";
  const Output output = run(line);
  EXPECT_TRUE(std::filesystem::is_empty(temporary)) << line;
  return output;
}

TEST(DryRun, SaysWhatTheRunIsNeedsAndTakes) {
  const SmallRun small("dry-run", "mor-middle_cycle-nr3");
  const Output output = dry_run(small, {"--train.steps=100", "--schedule.total_steps=100"});
  ASSERT_EQ(output.code, 0) << output.text;
  for (const char* part :
       {"\nmodel\n", "x3 routed", "\ndata\n", "100.00 % of the run", "\nmemory, estimated\n",
        "moments of AdamW", "\ntime\n", "median of 2", "100 steps", "nothing was written"}) {
    EXPECT_THAT(output.text, HasSubstr(part));
  }
}

TEST(DryRun, WritesNothing) {
  const SmallRun small("dry-run-nothing");
  ASSERT_EQ(dry_run(small, {"--out", small.path("run")}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(small.path("run")));
  // Nor to a run that is there; its tokens are used.
  ASSERT_EQ(small.train("run", {"--train.steps=3", "--schedule.total_steps=12"}).code, 0);
  const auto state = [&] {
    return run("cd '" + small.path("run") + "' && find . -type f | sort | xargs sha256sum").text;
  };
  const std::string before = state();
  EXPECT_THAT(before, HasSubstr("trainer.json"));
  const Output output = dry_run(small, {"--out", small.path("run"), "--resume"});
  EXPECT_EQ(output.code, 0) << output.text;
  EXPECT_THAT(output.text, HasSubstr("goes on at step"));
  EXPECT_THAT(output.text, HasSubstr("\n  9 steps"));
  EXPECT_EQ(state(), before);
}

TEST(DryRun, WithoutTimingThereIsNone) {
  const SmallRun small("dry-run-untimed");
  const Output output = dry_run(small, {"--no-timing", "--train.gradient_checkpointing=true"});
  ASSERT_EQ(output.code, 0) << output.text;
  EXPECT_THAT(output.text, HasSubstr("not measured"));
  EXPECT_THAT(output.text, HasSubstr("with gradient checkpointing"));
  EXPECT_THAT(output.text, Not(HasSubstr("tokens/s")));
}

TEST(DryRun, NumbersOfALotOfTextAreEstimatesAndSaySo) {
  const SmallRun small("dry-run-lot");
  std::filesystem::create_directories(small.path("lot"));
  for (const char* name : {"lot/a.txt", "lot/b.txt", "lot/c.txt", "lot/d.txt"}) {
    std::ofstream(small.path(name)).close();
    std::filesystem::resize_file(small.path(name), 15'000'000);  // a document of zeros each
  }
  const Output output = dry_run(small, {"--no-timing", "--data.train=" + small.path("lot")});
  ASSERT_EQ(output.code, 0) << output.text;
  EXPECT_THAT(output.text, HasSubstr("about 1875000 rows of 32"));
  EXPECT_THAT(output.text, HasSubstr("estimated from      43 MiB  of 57 MiB of text"));
  EXPECT_THAT(output.text, HasSubstr("validation            562 rows")) << "of little text they are not";
}

// A step that takes longer than any test, with a folder of its own for temporary files.
std::vector<std::string> endless(const SmallRun& small, const std::string& temporary) {
  std::filesystem::create_directories(temporary);
  std::vector<std::string> all = words(small, {"--train.accumulation=1000000"});
  all.insert(all.begin(), {"/usr/bin/env", "TMPDIR=" + temporary});
  return all;
}

TEST(DryRun, CtrlCLeavesNothing) {
  if (!has_terminals()) GTEST_SKIP() << "this machine has no pseudo-terminals (/dev/pts)";
  const SmallRun small("dry-run-ctrl-c");
  const std::string temporary = small.path("temporary");
  Terminal terminal(endless(small, temporary));
  ASSERT_TRUE(terminal.wait_for("memory, estimated")) << terminal.output();
  EXPECT_FALSE(std::filesystem::is_empty(temporary));
  terminal.type("\x03");
  const int status = terminal.wait();
  ASSERT_TRUE(WIFEXITED(status)) << terminal.output();
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(terminal.output(), HasSubstr("stopped; nothing was written"));
  EXPECT_TRUE(std::filesystem::is_empty(temporary));
}

TEST(DryRun, SigtermLeavesNothing) {
  const SmallRun small("dry-run-term");
  const std::string temporary = small.path("temporary"), said = small.path("said");
  std::string line;
  for (const std::string& word : endless(small, temporary)) line += "'" + word + "' ";
  const Output output =
      run("{ " + line + " >" + said + " & child=$!; while ! grep -qs 'memory, estimated' " + said +
          " && kill -0 $child; do sleep 0.05; done; kill -TERM $child; wait $child; echo code $?; }");
  EXPECT_THAT(output.text, HasSubstr("stopped; nothing was written"));
  EXPECT_THAT(output.text, HasSubstr("code 130"));
  EXPECT_TRUE(std::filesystem::is_empty(temporary));
}

TEST(DryRun, RefusesWhatTheRunWouldRefuse) {
  const SmallRun small("dry-run-refusals");
  EXPECT_THAT(dry_run(small, {"--train.stepz=3"}).text, HasSubstr("unknown key train.stepz"));
  EXPECT_THAT(dry_run(small, {"--data.train=none.txt"}).text,
              HasSubstr("none.txt: neither a file nor a directory"));
  ASSERT_EQ(small.train("run", {"--train.steps=1"}).code, 0);
  EXPECT_THAT(dry_run(small, {"--out", small.path("run")}).text, HasSubstr("holds a run already"));
  EXPECT_EQ(run(FATHOM_BIN_DIR "/fathom train " + small.recipe()).code, 2) << "no --out";
  EXPECT_EQ(run(FATHOM_BIN_DIR "/fathom train " + small.recipe() + " --no-timing --out x").code, 2);
}

}  // namespace
}  // namespace fathom::testing
