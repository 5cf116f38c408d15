// metrics.jsonl read back, for figures and for going on: what is no line of it is named by file and line.
#include "cli/run_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

class RunReader : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("run-reader-" + std::to_string(::getpid()))).string();
    ASSERT_TRUE(make_directories(folder_).ok());
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& content) const { ASSERT_TRUE(write_file_atomic(path(), content).ok()); }
  std::string path() const { return folder_ + "/metrics.jsonl"; }

  // What each reader says; "accepted" if nothing.
  std::string reading() const {
    const Status status = read_metrics(folder_, [](const MetricsEntry&) { return Status(); });
    return status.ok() ? "accepted" : status.error().message;
  }
  std::string going_on() const {
    const Result<RunLog> log = RunLog::open(path(), 1'000'000, metrics_records());
    return log.ok() ? "accepted" : log.error().message;
  }

  std::string folder_;
};

const std::string kStep = R"({"kind":"step","step":0,"loss":2.5})"
                          "\n";

TEST_F(RunReader, LinesThatAreNoEntriesAreNamedByBoth) {
  const std::pair<std::string, std::string> rows[] = {
      {R"({"kind":5,"step":1})", "kind is an integer, expected a string"},
      {R"({"kind":["step"],"step":1})", "kind is an array, expected a string"},
      {R"({"kind":"step","step":9223372036854775807})",
       "step is 9223372036854775807, expected an integer from 0 to 9223372036854775806"},
      {R"({"kind":"step","step":18446744073709551615})",
       "step is 18446744073709551615, expected an integer from 0 to 9223372036854775806"},
      {R"({"kind":"step","step":-1})", "step is -1, expected an integer from 0 to 9223372036854775806"},
      {R"({"kind":"step","step":"1"})", "step is \"1\", expected an integer from 0 to 9223372036854775806"},
      {R"({"kind":"step"})", "is not an object with kind and step"},
      {"[1]", "is not an object with kind and step"},
  };
  for (const auto& [line, sentence] : rows) {
    write(kStep + kStep + line + "\n" + kStep);
    const std::string expected = path() + ", line 3: " + sentence;
    EXPECT_EQ(reading(), expected);
    EXPECT_EQ(going_on(), expected);
    EXPECT_EQ(*read_file(path()), kStep + kStep + line + "\n" + kStep) << "a refused log is not cut";
  }
}

TEST_F(RunReader, LinesThatAreNotJsonWithinItsLimitsAreRefusedOrTorn) {
  const std::string wide = R"({"kind":"step","step":1,"x":")" + std::string(1 << 20, 'x') + "\"}";
  const std::string deep =
      R"({"kind":"step","step":1,"x":)" + std::string(9, '[') + std::string(9, ']') + "}";
  const std::string twice = R"({"kind":"step","step":1,"step":2})";
  for (const std::string& line : {std::string("{\"kind\":"), wide, deep, twice, std::string(100'000, '[')}) {
    write(kStep + line + "\n" + kStep);
    EXPECT_TRUE(reading().starts_with(path() + ", line 2: is not JSON: ")) << reading();
    EXPECT_EQ(going_on(), "accepted");
    EXPECT_EQ(*read_file(path()), kStep) << "what follows a torn line goes with it";
  }
}

TEST_F(RunReader, ALogIsCutToTheStepsOfItsCheckpoint) {
  const std::string evaluation = R"({"kind":"evaluation","step":1,"nll":2})"
                                 "\n";
  const std::string checkpoint = R"({"kind":"checkpoint","step":1,"path":"checkpoint-1"})"
                                 "\n";
  write(kStep + evaluation + checkpoint);
  ASSERT_TRUE(RunLog::cut(path(), 1, metrics_records()).ok());
  EXPECT_EQ(*read_file(path()), kStep + evaluation);
}

}  // namespace
}  // namespace fathom::cli
