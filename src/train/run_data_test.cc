// The data of a run and of its rehearsal: text becomes shards once, and a rehearsal leaves some of it out.
#include "train/run_data.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace fathom::train {
namespace {

namespace fs = std::filesystem;

class RunDataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* folder : {"text", "run", "scratch"}) fs::create_directories(path(folder));
    std::string lines;
    for (int i = 0; i < 1000; ++i) lines += "{\"text\": \"" + std::to_string(100'000'000 + i) + "\"}\n";
    ASSERT_TRUE(write_file_atomic(path("text/a.jsonl"), lines).ok());
    ASSERT_TRUE(write_file_atomic(path("text/b.txt"), std::string(99, 'b')).ok());
    config_.sources = {{.name = "a", .paths = {path("text")}}, {.name = "b", .paths = {path("text/b.txt")}}};
    config_.valid = {path("text/a.jsonl")};
    config_.sequence_length = 16;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  RunData open(const std::string& scratch) const {
    return open_run_data(config_, 257, path("run"), scratch).value();
  }
  RunSamples sample(int64_t most_tokens) const {
    ThreadPool threads(2);
    return sample_run_data(config_, path("run"), path("scratch"), most_tokens, threads).value();
  }
  static int64_t tokens(const TrainSource& source) { return source.rows->stream().tokens(); }

  DataConfig config_;
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-run-data-" + std::to_string(::getpid()))).string();
};

TEST_F(RunDataTest, ARehearsalReadsSomeOfALotOfText) {
  const RunSamples samples = sample(200);
  ASSERT_EQ(samples.sources.size(), 2U);
  ASSERT_TRUE(samples.sources[0].has_value());
  const TextSample& first = *samples.sources[0];
  EXPECT_EQ(first.tokens, 200);  // documents have 10 tokens and 22 bytes
  EXPECT_EQ(first.bytes_read, 20 * 22);
  EXPECT_EQ(first.bytes, 1000 * 22 + 99);
  EXPECT_FALSE(samples.sources[1].has_value()) << "100 tokens are all";
  ASSERT_TRUE(samples.valid.has_value());
  EXPECT_EQ(samples.valid->bytes, 1000 * 22);

  const RunData data = open(path("scratch"));
  EXPECT_EQ(tokens(data.sources[0]), 200);
  EXPECT_EQ(tokens(data.sources[1]), 100);
  EXPECT_EQ(data.valid->stream().tokens(), 200);
  EXPECT_TRUE(fs::is_empty(path("run")));
}

TEST_F(RunDataTest, OfLittleTextNothingIsLeftOut) {
  const RunSamples samples = sample(20'000);
  for (const std::optional<TextSample>& source : samples.sources) EXPECT_FALSE(source.has_value());
  EXPECT_FALSE(samples.valid.has_value());
  EXPECT_EQ(tokens(open(path("scratch")).sources[0]), 10'100);
}

TEST_F(RunDataTest, ShardsOfTheRunAreWholeAndComeFirst) {
  EXPECT_EQ(tokens(open(path("run")).sources[0]), 10'100);
  const RunSamples samples = sample(200);
  EXPECT_FALSE(samples.sources[0].has_value());
  EXPECT_FALSE(samples.valid.has_value());
  EXPECT_EQ(tokens(open(path("scratch")).sources[0]), 10'100);
  EXPECT_TRUE(fs::is_empty(path("scratch")));
}

}  // namespace
}  // namespace fathom::train
