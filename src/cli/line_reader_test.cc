#include "cli/line_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace fathom::cli {
namespace {

std::string written(const std::string& name, const std::string& content) {
  std::string path = (std::filesystem::path(::testing::TempDir()) / name).string();
  EXPECT_TRUE(write_file_atomic(path, content).ok());
  return path;
}

std::vector<std::string> all_lines(const std::string& path) {
  Result<LineReader> reader = LineReader::open(path);
  EXPECT_TRUE(reader.ok());
  std::vector<std::string> lines;
  std::string line;
  for (;;) {
    const Result<bool> more = reader->next(line);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !*more) return lines;
    lines.push_back(line);
  }
}

TEST(LineReader, JoinedLinesAreTheFile) {
  // Lines around the size of the reader's buffer, empty ones, and a last one with and without its line feed.
  for (const char* end : {"", "\n"}) {
    std::vector<std::string> expected;
    std::string content;
    for (size_t size : {0, 1, 0, (1 << 20) - 4, 1, 5, 3 << 20, 7}) {
      expected.emplace_back(size, 'x');
      content += (content.empty() && expected.size() == 1 ? "" : "\n") + expected.back();
    }
    EXPECT_EQ(all_lines(written("line_reader_lines", content + end)), expected);
  }
  EXPECT_TRUE(all_lines(written("line_reader_empty", "")).empty());
}

TEST(LineReader, NamesTheFileAndTheLineThatIsTooLong) {
  const std::string path = written("line_reader_long", "ok\n" + std::string(LineReader::kMaxLine + 1, 'x'));
  Result<LineReader> reader = LineReader::open(path);
  ASSERT_TRUE(reader.ok());
  std::string line;
  ASSERT_TRUE(reader->next(line).ok());
  EXPECT_THAT(reader->place(), ::testing::HasSubstr("line_reader_long, line 1"));
  const Result<bool> second = reader->next(line);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, ::testing::HasSubstr("line 2 exceeds the limit of 67108864 bytes"));
}

TEST(LineReader, GivesALineBeforeTheNextHasCome) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) / "line_reader_fifo").string();
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int writer = ::open(path.c_str(), O_RDWR);  // which a reader need not wait for, and never the end
  ASSERT_GE(writer, 0);
  Result<LineReader> reader = LineReader::open(path);
  ASSERT_TRUE(reader.ok());
  std::string line;
  for (const std::string expected : {"first", "second"}) {
    ASSERT_EQ(::write(writer, (expected + "\n").data(), expected.size() + 1),
              static_cast<ssize_t>(expected.size() + 1));
    const Result<bool> more = reader->next(line);
    EXPECT_TRUE(more.ok() && *more);
    EXPECT_EQ(line, expected);
  }
  ::close(writer);
}

TEST(LineReader, SaysWhichFileIsMissing) {
  const Result<LineReader> reader = LineReader::open("/nonexistent/file");
  ASSERT_FALSE(reader.ok());
  EXPECT_THAT(reader.error().message, ::testing::HasSubstr("/nonexistent/file"));
}

}  // namespace
}  // namespace fathom::cli
