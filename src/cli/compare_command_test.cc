// fathom compare as a user runs it: what a run does not know is shown as such.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/command_testing.h"
#include "plan/testing.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class CompareCommand : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(path_); }
  void TearDown() override { fs::remove_all(path_); }

  // A run with a step and then these lines.
  void write_run(const std::string& name, const std::string& first_loss, const std::string& more) const {
    testing::write_random_model(path_ + "/" + name, testing_plan::tiny());
    std::ofstream(path_ + "/" + name + "/run.json") << R"({"name": ")" << name << R"("})";
    std::ofstream(path_ + "/" + name + "/metrics.jsonl")
        << R"({"kind":"step","step":0,"tokens":64,"seconds":0.5,"loss":)" << first_loss << "}\n"
        << more;
  }
  // The last columns of the run's line: first loss, validation loss, its share with the sign, mean depth.
  std::vector<std::string> losses(const std::string& text, const std::string& name) const {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(name)) continue;
      std::istringstream words(line);
      std::vector<std::string> all;
      for (std::string word; words >> word;) all.push_back(word);
      // model, three figures in M, two of state, tokens a second
      return {all.begin() + 10, all.end()};
    }
    return {};
  }

  std::string path_ =
      (fs::temp_directory_path() / ("fathom-compare-test-" + std::to_string(::getpid()))).string();
};

TEST_F(CompareCommand, ALossThatIsNotKnownIsADash) {
  const std::string known =
      R"({"kind":"evaluation","step":1,"nll":2.5,"nll_threshold":3.0,"mean_depth":1.5})";
  const std::string unknown = R"({"kind":"evaluation","step":2,"nll":null,"nll_threshold":null})";
  write_run("whole", "4.0", known + "\n");
  write_run("none", "4.0", "");
  write_run("broken", "null", known + "\n" + unknown + "\n");
  write_run("start", "null", known + "\n");
  const testing::Outcome outcome =
      testing::run_fathom(testing::in_folder("compare @whole @none @broken @start -n 0", path_));
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(losses(outcome.text, "whole"), ElementsAre("4.000", "3.000", "75", "%", "1.50"));
  EXPECT_THAT(losses(outcome.text, "none"), ElementsAre("4.000", "-", "-", "-"));
  EXPECT_THAT(losses(outcome.text, "broken"), ElementsAre("-", "-", "-", "-"));
  EXPECT_THAT(losses(outcome.text, "start"), ElementsAre("-", "3.000", "-", "1.50"));
}

}  // namespace
}  // namespace fathom::cli
