// Ctrl-C and SIGTERM, on a terminal and without one.
#include <gtest/gtest.h>

#include <csignal>

#include "small_run.h"

namespace fathom::testing {
namespace {

const std::string kCtrlC = "\x03";
// A step that takes longer than any test.
const std::vector<std::string> kEndless = {"--train.accumulation=1000000", "--train.steps=2"};

#define SKIP_WITHOUT_TERMINALS() \
  if (!has_terminals()) GTEST_SKIP() << "this machine has no pseudo-terminals (/dev/pts)"

TEST(TrainSignals, CtrlCFinishesTheStepAndSaves) {
  SKIP_WITHOUT_TERMINALS();
  const SmallRun small("train-signals-once");
  Terminal terminal(small.command("run", {"--train.steps=1000000", "--schedule.total_steps=1000000"}));
  ASSERT_TRUE(terminal.wait_for("/1000000  loss ")) << terminal.output();  // the bar shows some steps only
  terminal.type(kCtrlC);
  const int status = terminal.wait();
  ASSERT_TRUE(WIFEXITED(status)) << terminal.output();
  EXPECT_EQ(WEXITSTATUS(status), 130) << terminal.output();
  EXPECT_NE(terminal.output().find("this step is finished and a checkpoint written"), std::string::npos);
  EXPECT_NE(terminal.output().find("; --resume continues from"), std::string::npos) << terminal.output();

  // The checkpoint is one to go on from.
  const int64_t done = small.metrics("run").back()["step"].get<int64_t>();
  ASSERT_GE(done, 1);
  const std::string steps = std::to_string(done + 2);
  const Output resumed =
      small.train("run", {"--resume", "--train.steps=" + steps, "--schedule.total_steps=1000000"});
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_NE(resumed.text.find("going on at step " + std::to_string(done)), std::string::npos) << resumed.text;
}

TEST(TrainSignals, ASecondCtrlCEndsAtOnceAndLeavesCheckpointsWhole) {
  SKIP_WITHOUT_TERMINALS();
  const SmallRun small("train-signals-twice");
  ASSERT_EQ(small.train("run", {"--train.steps=1"}).code, 0);
  std::vector<std::string> more = kEndless;
  more.insert(more.end(), {"--resume", "--allow-changes"});  // of the accumulation
  Terminal terminal(small.command("run", more));
  ASSERT_TRUE(terminal.wait_for("going on at step 1")) << terminal.output();
  terminal.type(kCtrlC);
  ASSERT_TRUE(terminal.wait_for("Ctrl-C again ends at once")) << terminal.output();
  ::usleep(150'000);  // what comes sooner counts as the same signal
  terminal.type(kCtrlC);
  const int status = terminal.wait();
  ASSERT_TRUE(WIFSIGNALED(status)) << terminal.output();
  EXPECT_EQ(WTERMSIG(status), SIGINT);
  const Output resumed = small.train("run", {"--resume", "--train.steps=2"});
  EXPECT_EQ(resumed.code, 0) << resumed.text;
}

TEST(TrainSignals, SigtermWithoutATerminalStopsLikeCtrlC) {
  const SmallRun small("train-signals-term");
  // The signal goes to the process that `fathom train` is; twice at once is once.
  const Output output =
      run("{ " FATHOM_BIN_DIR "/fathom train " + small.recipe() + " --out " + small.path("run") +
          " --train.steps=1000000 --schedule.total_steps=1000000 & child=$!; " + "while ! grep -qs loss " +
          small.path("run/metrics.jsonl") +
          "; do sleep 0.05; done; kill -TERM $child; kill -TERM $child; wait $child; echo code $?; }");
  EXPECT_NE(output.text.find("code 130"), std::string::npos) << output.text;
  EXPECT_NE(output.text.find("; --resume continues from"), std::string::npos) << output.text;
}

TEST(TrainSignals, ATerminalShowsABarAndAFilePlainLines) {
  SKIP_WITHOUT_TERMINALS();
  const SmallRun small("train-signals-bar");
  Terminal terminal(small.command("bar"));
  EXPECT_EQ(terminal.wait(), 0) << terminal.output();
  EXPECT_NE(terminal.output().find("\r\x1b[K[##"), std::string::npos) << terminal.output();
  const Output plain = small.train("plain");
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.text.find_first_of("\r\x1b"), std::string::npos) << plain.text;
  EXPECT_NE(plain.text.find("step 12/12  loss "), std::string::npos) << plain.text;
  Terminal quiet(small.command("quiet", {"--quiet"}));
  EXPECT_EQ(quiet.wait(), 0);
  EXPECT_EQ(quiet.output(), "");
}

}  // namespace
}  // namespace fathom::testing
