// fathom fit as a user runs it.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "cli/command_testing.h"

namespace fathom::cli::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FitCommand : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  Outcome fit(const std::string& arguments) const {
    return run_fathom(in_folder("fit " + arguments, folder_));
  }
  const std::string folder_ =
      (fs::temp_directory_path() / ("fathom-fit-" + std::to_string(::getpid()))).string();
};

TEST_F(FitCommand, ALawGoesThroughTheLastLossesOfRuns) {
  std::string runs;
  for (int run = 1; run <= 4; ++run) {
    const std::string folder = folder_ + "/r" + std::to_string(run);
    fs::create_directories(folder);
    const int tokens = 1000 << run;
    std::ofstream(folder + "/metrics.jsonl")
        << R"({"kind":"step","step":0,"loss":9.0,"tokens":)" << tokens << R"(,"seconds":1})"
        << "\n"
        << R"({"kind":"evaluation","step":1,"nll":)" << 30 / std::sqrt(tokens) + 1.5 << "}\n";
    runs += " @r" + std::to_string(run);
  }
  const Outcome made = fit(runs + " --x tokens --json --out @law.svg");
  ASSERT_EQ(made.code, 0) << made.text;
  const nlohmann::json law = nlohmann::json::parse(made.text).at(0);
  EXPECT_NEAR(law["b"].get<double>(), 0.5, 1e-3);
  EXPECT_NEAR(law["C"].get<double>(), 1.5, 1e-3);
  EXPECT_EQ(law["points"], 4);
  const std::string picture = *read_file(folder_ + "/law.svg");
  EXPECT_TRUE(picture.starts_with("<svg "));
}

TEST_F(FitCommand, SeriesOfAFileHaveALawEach) {
  ASSERT_TRUE(write_file_atomic(folder_ + "/points.json",
                                R"({"series": [{"name": "one", "points": [[4, 2], [1, 3], [16, 1.5]]},
                                               {"name": "two", "points": [[1, 5], [10, 2.3], [100, 2.03]]}]})")
                  .ok());
  const Outcome made = fit("--points @points.json");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("one"));
  EXPECT_THAT(made.text, HasSubstr("0.5000    1.0000"));
  EXPECT_THAT(made.text, HasSubstr("1.0000    2.0000"));
}

// Points of a law with b = 1.
TEST_F(FitCommand, NoLawIsSteeperThanTheMostExponent) {
  ASSERT_TRUE(
      write_file_atomic(folder_ + "/points.json",
                        R"({"series": [{"name": "two", "points": [[1, 5], [10, 2.3], [100, 2.03]]}]})")
          .ok());
  const auto law = [&](const std::string& flags) {
    const Outcome made = fit("--points @points.json --json " + flags);
    EXPECT_EQ(made.code, 0) << made.text;
    return nlohmann::json::parse(made.text).at(0);
  };
  const nlohmann::json steep = law(""), flat = law("--most-exponent 0.5");
  EXPECT_NEAR(steep["b"].get<double>(), 1, 1e-6);
  EXPECT_NEAR(flat["b"].get<double>(), 0.5, 1e-6);
  EXPECT_GT(flat["sum_of_squares"].get<double>(), 0.1);
  EXPECT_NEAR(law("--most-exponent 1.5")["b"].get<double>(), 1, 1e-6);
}

TEST_F(FitCommand, WhatIsWrongIsNamed) {
  const auto refusal = [&](const std::string& json) {
    EXPECT_TRUE(write_file_atomic(folder_ + "/points.json", json).ok());
    const Outcome outcome = fit("--points @points.json");
    EXPECT_EQ(outcome.code, 1);
    return outcome.text;
  };
  EXPECT_THAT(refusal("[]"), HasSubstr("points.json: is an array, expected an object with series"));
  EXPECT_THAT(refusal(R"({"series": []})"), HasSubstr("series is not a list of at least one object"));
  EXPECT_THAT(refusal(R"({"series": [{"name": "a", "point": []}]})"),
              HasSubstr("series 0: unknown key point"));
  EXPECT_THAT(refusal(R"({"series": [{"name": "a"}]})"), HasSubstr("series 0: the key points is missing"));
  EXPECT_THAT(refusal(R"({"series": [{"name": "a", "points": [[1, 2], [3]]}]})"),
              HasSubstr("series 0: point 1 is not [x, loss], two numbers"));
  EXPECT_THAT(refusal(R"({"series": [{"name": "a", "points": [[1, 2], [3, 1]]}]})"),
              HasSubstr("a: 2 points, expected at least 3"));
  EXPECT_THAT(refusal(R"({"series": [{"name": "a", "points": [[1e308, 2], [2e307, 1e308], [3, 1e-308]]}]})"),
              HasSubstr("a: the sum of squares around the mean loss is not finite"));
}

TEST_F(FitCommand, FlagsThatLackOrContradictOthersAreRefused) {
  const struct {
    const char *arguments, *message;
  } cases[] = {{"", "fit needs runs or --points"},
               {"--points @points.json @run", "excludes"},
               {"--points @points.json --x tokens", "excludes"},
               {"--points @points.json --name law", "excludes"},
               {"@run --title Law", "--title requires --out"},
               {"@run --most-exponent nan", "'nan' is not a number"}};
  for (const auto& c : cases) {
    const Outcome outcome = fit(c.arguments);
    EXPECT_EQ(outcome.code, 2) << c.arguments;
    EXPECT_THAT(outcome.text, HasSubstr(c.message)) << c.arguments;
  }
}

TEST_F(FitCommand, LawsArePrintedBeforeThePictureIsWritten) {
  ASSERT_TRUE(write_file_atomic(folder_ + "/points.json",
                                R"({"series": [{"name": "one", "points": [[4, 2], [1, 3], [16, 1.5]]}]})")
                  .ok());
  const Outcome early = fit("--points @points.json --out @none/law.svg");
  EXPECT_EQ(early.code, 1);
  EXPECT_EQ(early.text, "fathom: " + folder_ + "/none/law.svg: cannot be written to the folder " + folder_ +
                            "/none: No such file or directory\n");
  // A name that fits, but not with the ending of a file that is being written.
  const Outcome late = fit("--points @points.json --out @" + std::string(250, 'x'));
  EXPECT_EQ(late.code, 1);
  EXPECT_THAT(late.text, HasSubstr("0.5000    1.0000"));
  EXPECT_THAT(late.text, HasSubstr("File name too long"));
}

}  // namespace
}  // namespace fathom::cli::testing
