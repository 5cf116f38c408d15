#include "base/scratch_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class ScratchFiles : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override {
    set_file_fault({});
    EXPECT_TRUE(fs::is_empty(folder_)) << "a file was left";
    fs::remove_all(folder_);
  }
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-scratch-" + std::to_string(::getpid()))).string();
};

TEST_F(ScratchFiles, GiveBackWhatWasWrittenAndHaveNoName) {
  Result<ScratchFile> file = ScratchFile::open(folder_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  std::vector<uint8_t> bytes(100000), back(50000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  ASSERT_TRUE(file->append(bytes).ok());
  ASSERT_TRUE(file->append(bytes).ok());
  EXPECT_TRUE(fs::is_empty(folder_));
  ASSERT_TRUE(file->read(100010, back).ok());
  for (size_t i = 0; i < back.size(); ++i) ASSERT_EQ(back[i], bytes[i + 10]) << i;
  ScratchFile other = std::move(*file);
  ASSERT_TRUE(other.read(0, back).ok());
  EXPECT_EQ(back[3], bytes[3]);
}

TEST_F(ScratchFiles, ErrorsAreSentences) {
  const Result<ScratchFile> none = ScratchFile::open(folder_ + "/none");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().message, folder_ + "/none: cannot make a scratch file: No such file or directory");
  Result<ScratchFile> file = ScratchFile::open(folder_);
  ASSERT_TRUE(file.ok());
  std::vector<uint8_t> bytes(10);
  ASSERT_TRUE(file->append(bytes).ok());
  EXPECT_EQ(file->read(5, bytes).error().message,
            folder_ + ": cannot read a scratch file: No data available");
  int writes = 0;
  set_file_fault([&](FileOp op, const std::string&) {
    if (op != FileOp::kWrite) return FileOutcome();
    return FileOutcome(++writes == 1 ? EINTR : ENOSPC);
  });
  EXPECT_EQ(file->append(bytes).error().message,
            folder_ + ": cannot write a scratch file: No space left on device");
  EXPECT_EQ(writes, 2);
}

}  // namespace
}  // namespace fathom
