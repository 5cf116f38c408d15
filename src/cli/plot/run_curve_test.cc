// Curves of runs that ended well, badly, or not at all.
#include "cli/plot/run_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fathom::cli::plot {
namespace {

using ::testing::HasSubstr;

class RunCurveTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  Result<Curve> read(XKind x, const std::string& y = "loss") const {
    return read_run_curve(folder_.string(), x, y);
  }
  std::string refusal(const std::string& y = "loss") const {
    const Result<Curve> curve = read(XKind::kStep, y);
    return curve.ok() ? "" : curve.error().message;
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("run-curve-" + std::to_string(getpid()));
};

const std::string kStep0 =
    R"({"kind":"step","step":0,"loss":8.5,"tokens":100,"seconds":2.0,"kept":[1.0,0.5]})"
    "\n";
const std::string kStep1 =
    R"({"kind":"step","step":1,"loss":null,"tokens":200,"seconds":0.5,"kept":[1.0,0.6]})"
    "\n";
const std::string kStep2 =
    R"({"kind":"step","step":2,"loss":7.5,"tokens":300,"seconds":0.5,"kept":[1.0,0.7]})"
    "\n";
const std::string kEvaluation = R"({"kind":"evaluation","step":3,"nll":7.25,"mean_depth":1.5})"
                                "\n";
const std::string kSaved = R"({"kind":"checkpoint","step":3,"path":"checkpoint-3"})"
                           "\n";

TEST_F(RunCurveTest, PlacesByStepTokensAndTime) {
  write("metrics.jsonl", kStep0 + kStep1 + kStep2 + kEvaluation + kSaved);
  write("run.json", R"({"name": "mine"})");
  EXPECT_EQ(read(XKind::kStep)->points, (std::vector<Point>{{1, 8.5}, {3, 7.5}}));
  EXPECT_EQ(read(XKind::kStep)->marks, (std::vector<Point>{{3, 7.25}}));
  EXPECT_EQ(read(XKind::kStep)->name, "mine");
  EXPECT_EQ(read(XKind::kTokens)->points, (std::vector<Point>{{100, 8.5}, {300, 7.5}}));
  EXPECT_EQ(read(XKind::kTime)->points, (std::vector<Point>{{2, 8.5}, {3, 7.5}}));
  EXPECT_EQ(read(XKind::kTime)->marks, (std::vector<Point>{{3, 7.25}}));
}

TEST_F(RunCurveTest, OtherNumbers) {
  write("metrics.jsonl", kStep0 + kStep1 + kStep2 + kEvaluation);
  EXPECT_EQ(read(XKind::kStep, "kept_2")->points, (std::vector<Point>{{1, 0.5}, {2, 0.6}, {3, 0.7}}));
  EXPECT_EQ(read(XKind::kStep, "tokens_per_second")->points,
            (std::vector<Point>{{1, 50}, {2, 200}, {3, 200}}));
  EXPECT_EQ(read(XKind::kStep, "mean_depth")->points, (std::vector<Point>{{3, 1.5}}));
  EXPECT_TRUE(read(XKind::kStep, "mean_depth")->marks.empty());
}

TEST_F(RunCurveTest, FlopsAreCountedFromTheRunsModel) {
  write("metrics.jsonl", kStep0);
  std::ifstream spec(FATHOM_SOURCE_DIR "/configs/models/tiny/llama.toml");
  write("model.toml", {std::istreambuf_iterator<char>(spec), {}});
  write("config.toml", "model = \"model.toml\"\n[data]\ntrain = \"x\"\nsequence_length = 64\n");
  const Result<Curve> curve = read(XKind::kFlops);
  ASSERT_TRUE(curve.ok()) << curve.error().message;
  EXPECT_GT(curve->points[0].x, 100 * 3 * 1000.0);
  std::filesystem::remove(folder_ / "config.toml");
  EXPECT_THAT(read(XKind::kFlops).error().message, HasSubstr("config.toml"));
}

TEST_F(RunCurveTest, ATornLastLineIsNotThere) {
  for (size_t length = 0; length < kStep1.size(); ++length) {
    write("metrics.jsonl", kStep0 + kStep1.substr(0, length));
    const Result<Curve> curve = read(XKind::kStep);
    ASSERT_TRUE(curve.ok()) << curve.error().message;
    EXPECT_EQ(curve->points.size(), 1U);
  }
}

TEST_F(RunCurveTest, RefusalsSayWhereAndWhat) {
  EXPECT_THAT(refusal(), HasSubstr("metrics.jsonl: cannot open"));
  write("metrics.jsonl", kStep0 + "{\"kind\":\n" + kStep1);
  EXPECT_THAT(refusal(), HasSubstr("metrics.jsonl, line 2: is not JSON"));
  write("metrics.jsonl", kStep0 + "[1]\n");
  EXPECT_THAT(refusal(), HasSubstr("metrics.jsonl, line 2: is not an object with kind and step"));
  write("metrics.jsonl", kSaved);
  EXPECT_THAT(refusal(), HasSubstr("holds no step yet"));
  write("metrics.jsonl", kStep0 + kEvaluation);
  EXPECT_THAT(refusal("depth"),
              HasSubstr("has no number \"depth\"; there are kept_1, kept_2, loss, mean_depth, nll, "
                        "seconds, tokens, tokens_per_second"));
}

}  // namespace
}  // namespace fathom::cli::plot
