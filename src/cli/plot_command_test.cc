// The command itself: a file, exit codes, refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

using ::testing::HasSubstr;

struct Outcome {
  int exit_code = -1;
  std::string output;  // both streams
};

class PlotCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* run : {"a", "b"}) {
      std::filesystem::create_directories(folder_ / run);
      std::ofstream log(folder_ / run / "metrics.jsonl");
      for (int step = 0; step < 90; ++step) {
        log << "{\"kind\":\"step\",\"step\":" << step << ",\"loss\":" << 4.0 / (1 + step)
            << ",\"tokens\":" << 1000 * (step + 1) << ",\"seconds\":0.5}\n";
      }
      log << "{\"kind\":\"step\",\"st";  // killed here
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  Outcome plot(const std::string& arguments) const {
    const std::string command =
        "cd '" + folder_.string() + "' && " + FATHOM_BIN_DIR + "/fathom plot " + arguments + " 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    Outcome run;
    std::array<char, 4096> buffer;
    for (size_t got; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      run.output.append(buffer.data(), got);
    run.exit_code = WEXITSTATUS(pclose(pipe));
    return run;
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("plot-command-" + std::to_string(getpid()));
};

TEST_F(PlotCommand, WhatLiesAtThePathStaysWhatItIs) {
  std::ofstream(folder_ / "real.svg") << "old";
  std::filesystem::permissions(folder_ / "real.svg",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::create_symlink("real.svg", folder_ / "link.svg");
  ASSERT_EQ(plot("a --out link.svg").exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link.svg"));
  EXPECT_GT(std::filesystem::file_size(folder_ / "real.svg"), 100U);
  EXPECT_EQ(std::filesystem::status(folder_ / "real.svg").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  // By a link, so that a failure of this test does not cost the machine its devices.
  std::filesystem::create_symlink("/dev/full", folder_ / "full");
  const struct {
    std::string arguments, sentence;
  } refused[] = {{"a --out full", "full: cannot write: No space left on device"},
                 {"a --out none/c.svg", "none/c.svg: cannot create: No such file or directory"},
                 {"a --out .", ". is a directory, expected a file to write"}};
  for (const auto& [arguments, sentence] : refused) {
    const Outcome run = plot(arguments);
    EXPECT_EQ(run.exit_code, 1) << arguments;
    EXPECT_EQ(run.output, "fathom: " + sentence + "\n");
  }
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "full"));
}

TEST_F(PlotCommand, ComparesRunsInOneFile) {
  const Outcome run = plot("a b --x tokens --smooth 9 --log xy --out both.svg");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  std::ifstream file(folder_ / "both.svg");
  const std::string svg(std::istreambuf_iterator<char>(file), {});
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
  EXPECT_THAT(svg, HasSubstr(">a  0.0"));
  EXPECT_THAT(svg, HasSubstr(">b  0.0"));
  EXPECT_THAT(svg, HasSubstr("loss over tokens"));
  EXPECT_EQ(plot("a --title Mine --out -").output.find("<svg "), 0U);
}

// Doubles beside each other, between which no tick has room.
TEST_F(PlotCommand, RangesThatDoublesHardlyTellApartAreDrawn) {
  for (const char* x : {"step", "tokens"}) {
    std::filesystem::create_directories(folder_ / "flat");
    std::ofstream(folder_ / "flat/metrics.jsonl")
        << R"({"kind":"step","step":0,"loss":9007199254740992,"tokens":9007199254740992,"seconds":1})"
        << "\n"
        << R"({"kind":"step","step":1,"loss":9007199254740994,"tokens":9007199254740994,"seconds":1})"
        << "\n";
    const Outcome run = plot("flat --out - --x " + std::string(x));
    ASSERT_EQ(run.exit_code, 0) << run.output;
    EXPECT_TRUE(run.output.starts_with("<svg ") && run.output.ends_with("</svg>\n"));
    EXPECT_LT(run.output.size(), 20000U);
  }
}

TEST_F(PlotCommand, RangesAreWhatTheAxesShow) {
  // The ticks at both ends, each axis by itself: steps stand under the plot, losses left of it.
  const auto expect_ends = [&](const std::string& flags, const char* x_low, const char* x_high,
                               const char* y_low, const char* y_high) {
    const Outcome run = plot("a --out - " + flags);
    ASSERT_EQ(run.exit_code, 0) << run.output;
    const auto tick = [](const std::string& place, const char* anchor, const std::string& text) {
      return "<text " + place + " fill=\"#59636e\" text-anchor=\"" + anchor + "\">" + text + "</text>";
    };
    EXPECT_THAT(run.output, HasSubstr(tick("x=\"76\" y=\"517\"", "middle", x_low))) << flags;
    EXPECT_THAT(run.output, HasSubstr(tick("x=\"810\" y=\"517\"", "middle", x_high))) << flags;
    EXPECT_THAT(run.output, HasSubstr(tick("x=\"66\" y=\"500.5\"", "end", y_low))) << flags;
    EXPECT_THAT(run.output, HasSubstr(tick("x=\"66\" y=\"60.5\"", "end", y_high))) << flags;
  };
  expect_ends("--x-range 10 20 --y-range 0.5 0.75", "10", "20", "0.50", "0.75");
  expect_ends("--x-range 200 300", "200", "300", "0.0", "4.0");
  expect_ends("--x-range 0 80 --y-range -1 1", "0", "80", "-1.0", "1.0");
}

TEST_F(PlotCommand, RefusesWithItsExitCodes) {
  EXPECT_EQ(plot("").exit_code, 2);
  EXPECT_EQ(plot("a --x hours").exit_code, 2);
  EXPECT_EQ(plot("a --smooth 0").exit_code, 2);
  EXPECT_EQ(plot("a --log z").exit_code, 2);
  const Outcome absent = plot("a none");
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.output, HasSubstr("none/metrics.jsonl"));
  EXPECT_THAT(plot("a --y lose").output,
              HasSubstr("has no number \"lose\"; there are loss, seconds, tokens"));
  for (const char* range : {"3 1", "nan 1", "0 inf", "2 2"}) {
    const Outcome refused = plot("a --y-range " + std::string(range));
    EXPECT_EQ(refused.exit_code, 2) << range;
    EXPECT_THAT(refused.output, HasSubstr("--y-range takes two numbers, the lower first")) << range;
  }
  const Outcome log = plot("a --x-range 0 9 --log x");
  EXPECT_EQ(log.exit_code, 2);
  EXPECT_THAT(log.output, HasSubstr("begins at or below 0"));
  EXPECT_EQ(plot("a --out /no/such/folder/x.svg").exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "curves.svg"));
}

}  // namespace
