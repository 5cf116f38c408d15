// The file seam: whatever the system does with an operation, a file is whole or there is one sentence.
#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

namespace fathom {
namespace {

namespace fs = std::filesystem;

class FileSeam : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-file-" + std::to_string(::getpid()))).string();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override {
    set_file_fault({});
    fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  int64_t entries() const { return std::distance(fs::directory_iterator(folder_), {}); }

  std::string folder_;
};

TEST_F(FileSeam, ShortWritesAndReadsMoveEveryByteInTheEnd) {
  std::string content;
  for (int i = 0; i < 5000; ++i) content += static_cast<char>('a' + i % 26);
  std::map<FileOp, int> calls;
  set_file_fault([&](FileOp op, const std::string&) {
    return FileOutcome::shortened(static_cast<size_t>(1 + calls[op]++ % 7));
  });
  ASSERT_TRUE(write_file_atomic(path("a"), content).ok());
  const Result<std::string> read = read_file(path("a"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, content);
  EXPECT_GE(calls[FileOp::kWrite], 5000 / 7);
  EXPECT_GE(calls[FileOp::kRead], 5000 / 7);
}

TEST_F(FileSeam, AnInterruptedCallIsRepeated) {
  std::map<FileOp, int> calls;
  set_file_fault([&](FileOp op, const std::string&) {
    const bool moves_bytes = op == FileOp::kWrite || (op == FileOp::kRead && calls[op] > 0);  // not the open
    return ++calls[op] % 2 == 0 && moves_bytes ? EINTR : 0;
  });
  ASSERT_TRUE(write_file_atomic(path("a"), "one").ok());
  ASSERT_TRUE(write_file_atomic(path("a"), "two").ok());
  const Result<std::string> read = read_file(path("a"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, "two");
  EXPECT_EQ(calls[FileOp::kWrite], 3);
}

TEST_F(FileSeam, AFailureNamesPathAndReasonAndLeavesTheOldContent) {
  ASSERT_TRUE(write_file_atomic(path("a"), "old").ok());
  int failures = 0;
  for (int fail_at = 0;; ++fail_at) {
    int seen = 0;
    FileOp failed = FileOp::kOpen;
    set_file_fault([&](FileOp op, const std::string&) {
      if (seen++ != fail_at) return 0;
      failed = op;
      return ENOSPC;
    });
    const Status status = write_file_atomic(path("a"), "new");
    set_file_fault({});
    if (status.ok()) break;
    ++failures;
    EXPECT_EQ(status.error().kind, ErrorKind::kIo);
    EXPECT_TRUE(status.error().message.starts_with(folder_)) << status.error().message;
    EXPECT_TRUE(status.error().message.ends_with(": No space left on device")) << status.error().message;
    // Only the flush of the folder comes after the file is in place.
    EXPECT_TRUE(*read_file(path("a")) == "old" || fail_at == 5) << fail_at;
    EXPECT_EQ(entries(), 1) << fail_at;
  }
  EXPECT_EQ(failures, 6);  // create, write, flush, close, rename, flush of the folder
}

TEST_F(FileSeam, ADiskThatFillsInTheMiddleOfAWriteIsAFailure) {
  int writes = 0;
  set_file_fault([&](FileOp op, const std::string&) -> FileOutcome {
    if (op != FileOp::kWrite) return 0;
    return ++writes == 1 ? FileOutcome::shortened(2) : FileOutcome(ENOSPC);
  });
  const Status status = write_file_atomic(path("a"), "content");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(writes, 2);
  EXPECT_EQ(entries(), 0);
}

TEST_F(FileSeam, OnlyRegularFilesAreMappedAndAPipeIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  for (const std::string& found : {path("pipe"), folder_}) {
    const Result<MappedFile> file = MappedFile::open(found);
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.error().message, found + ": not a regular file");
  }
  ASSERT_TRUE(write_file_atomic(path("file"), "xyz").ok());
  EXPECT_EQ(MappedFile::open(path("file")).value().bytes().size(), 3U);
}

TEST_F(FileSeam, ATreeIsRemovedEntryByEntryAndLinksAreNotFollowed) {
  fs::create_directories(path("kept"));
  ASSERT_TRUE(write_file_atomic(path("kept/file"), "x").ok());
  fs::create_directories(path("tree/sub"));
  ASSERT_TRUE(write_file_atomic(path("tree/sub/file"), "x").ok());
  fs::create_directory_symlink(path("kept"), path("tree/link"));
  int removals = 0;
  set_file_fault([&](FileOp op, const std::string&) {
    removals += op == FileOp::kUnlink ? 1 : 0;
    return 0;
  });
  ASSERT_TRUE(remove_tree(path("tree")).ok());
  EXPECT_EQ(removals, 4);  // sub/file, sub, link, tree
  EXPECT_FALSE(fs::exists(path("tree")));
  EXPECT_EQ(*read_file(path("kept/file")), "x");
  EXPECT_TRUE(remove_tree(path("tree")).ok());
}

TEST_F(FileSeam, ALinkStaysAndWhatItLeadsToIsReplaced) {
  fs::create_directories(path("sub"));
  ASSERT_TRUE(write_file_atomic(path("sub/real"), "old").ok());
  fs::create_symlink("sub/real", path("link"));
  fs::create_symlink(path("link"), path("second"));
  fs::create_symlink("sub/new", path("dangling"));
  ASSERT_TRUE(write_file_atomic(path("second"), "new").ok());
  ASSERT_TRUE(write_file_atomic(path("dangling"), "made").ok());
  for (const char* link : {"link", "second", "dangling"}) EXPECT_TRUE(fs::is_symlink(path(link))) << link;
  EXPECT_EQ(*read_file(path("sub/real")), "new");
  EXPECT_EQ(*read_file(path("sub/new")), "made");
  EXPECT_EQ(std::distance(fs::directory_iterator(path("sub")), {}), 2);
  fs::create_symlink("round", path("round"));
  EXPECT_EQ(write_file_atomic(path("round"), "x").error().message,
            path("round") + ": cannot create: Too many levels of symbolic links");
}

TEST_F(FileSeam, DevicesAndPipesAreWrittenToAndStay) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const int reader = ::open(path("pipe").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  fs::create_symlink("pipe", path("link"));
  for (const char* name : {"pipe", "link"}) {
    ASSERT_TRUE(write_file_atomic(path(name), "text").ok()) << name;
    char got[8] = {};
    EXPECT_EQ(::read(reader, got, sizeof got), 4) << name;
    EXPECT_STREQ(got, "text");
  }
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(path("pipe")));
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(entries(), 2);
  // By a link, so that a failure of this test does not cost the machine its devices.
  fs::create_symlink("/dev/null", path("null"));
  EXPECT_TRUE(write_file_atomic(path("null"), "text").ok());
  EXPECT_TRUE(fs::is_symlink(path("null")));
  if (!fs::exists("/dev/full")) return;
  fs::create_symlink("/dev/full", path("full"));
  EXPECT_EQ(write_file_atomic(path("full"), "text").error().message,
            path("full") + ": cannot write: No space left on device");
  EXPECT_TRUE(fs::is_symlink(path("full")));
}

TEST_F(FileSeam, AReplacedFileHandsOnItsPermissions) {
  for (const mode_t mode : {0600U, 0640U, 0666U, 0755U}) {
    ASSERT_TRUE(write_file_atomic(path("a"), "old").ok());
    ASSERT_EQ(::chmod(path("a").c_str(), mode), 0);
    ASSERT_TRUE(write_file_atomic(path("a"), "new").ok());
    struct stat info {};
    ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, mode);
  }
}

TEST_F(FileSeam, AFailureNamesTheFileThatWasAskedFor) {
  EXPECT_EQ(write_file_atomic(path("none/a"), "x").error().message,
            path("none/a") + ": cannot create: No such file or directory");
  EXPECT_EQ(write_file_atomic(folder_, "x").error().message,
            folder_ + " is a directory, expected a file to write");
  for (const FileOp failing : {FileOp::kOpen, FileOp::kWrite, FileOp::kFsync, FileOp::kClose}) {
    set_file_fault([&](FileOp op, const std::string&) { return op == failing ? EIO : 0; });
    const Status status = write_file_atomic(path("a"), "x");
    set_file_fault({});
    ASSERT_FALSE(status.ok());
    EXPECT_TRUE(status.error().message.starts_with(path("a") + ": cannot ")) << status.error().message;
  }
}

TEST_F(FileSeam, NoFolderIsMadeThatAPathOnlyLeadsThrough) {
  EXPECT_EQ(make_directories(path("new/../other")).error().message,
            path("new/../other") + ": cannot create directory: No such file or directory");
  EXPECT_EQ(entries(), 0);
  ASSERT_TRUE(make_directories(path("new/inner")).ok());
  EXPECT_TRUE(make_directories(path("new/../other")).ok());
  EXPECT_TRUE(fs::is_directory(path("other")));
}

}  // namespace
}  // namespace fathom
