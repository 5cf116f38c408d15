// Cutting a log back to a checkpoint leaves exactly the whole records up to it.
#include "cli/run_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace fathom::cli {
namespace {

// Records of one digit, the steps done, and a full stop: "0.1.2."
std::optional<RunLog::Record> next(std::string_view rest) {
  if (rest.size() < 2 || rest[1] != '.') return std::nullopt;
  return RunLog::Record{2, rest[0] - '0'};
}

class RunLogTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string content() const { return read_file(path_).value(); }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("run-log-" + std::to_string(getpid()))).string();
};

TEST_F(RunLogTest, AnAbsentFileIsMadeAndGrows) {
  Result<RunLog> log = RunLog::open(path_, 5, next);
  ASSERT_TRUE(log.ok()) << log.error().message;
  EXPECT_TRUE(log->empty());
  ASSERT_TRUE(log->append("1.").ok() && log->append("2.").ok());
  EXPECT_EQ(log->bytes(), 4U);
  EXPECT_EQ(content(), "1.2.");
}

TEST_F(RunLogTest, RecordsBehindTheCheckpointGo) {
  for (size_t steps = 0; steps <= 5; ++steps) {
    ASSERT_TRUE(write_file_atomic(path_, "0.1.2.3.4.").ok());
    Result<RunLog> log = RunLog::open(path_, static_cast<int64_t>(steps), next);
    ASSERT_TRUE(log.ok());
    const std::string kept = std::string("0.1.2.3.4.").substr(0, 2 * steps + 2);
    EXPECT_EQ(content(), kept);
    EXPECT_EQ(log->bytes(), kept.size());
    ASSERT_TRUE(log->append("9.").ok());
    EXPECT_EQ(content(), kept + "9.");
  }
}

TEST_F(RunLogTest, WhatFollowsATornRecordGoesWithIt) {
  for (const char* torn : {"0.1.2", "0.1.2.x", "0.1.2.3"}) {
    ASSERT_TRUE(write_file_atomic(path_, torn).ok());
    const Result<uint64_t> kept = RunLog::cut(path_, 9, next);
    ASSERT_TRUE(kept.ok());
    EXPECT_EQ(content(), std::string(torn).substr(0, *kept));
    EXPECT_EQ(*kept % 2, 0U);
    EXPECT_GE(*kept + 2, std::string(torn).size());
  }
}

TEST_F(RunLogTest, AFileThatCannotBeCutIsAnError) {
  EXPECT_EQ(RunLog::cut(path_, 0, next).error().kind, ErrorKind::kNotFound);
  const Result<RunLog> log = RunLog::open("/proc/no-such-folder/log", 0, next);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().message.find("/proc/no-such-folder/log"), std::string::npos);
}

}  // namespace
}  // namespace fathom::cli
