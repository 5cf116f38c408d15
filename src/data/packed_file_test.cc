// Packed files say what was written into them, whatever the documents' lengths.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "data/packed_file_writer.h"
#include "data/packed_rows.h"
#include "data/token_paths.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class PackedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("fathom-packed-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string prefix() const { return (folder_ / "part").string(); }
  std::string path(int64_t file) const { return packed_file_name(prefix(), file); }
  fs::path folder_;
  ThreadPool threads_{3};
};

TEST_F(PackedFileTest, DocumentsGoOnInTheNextFileAndTheLastOneIsFilled) {
  constexpr int64_t kTokens = 64;
  for (int64_t vocab_size : {int64_t{300}, int64_t{65499}, int64_t{65500}, int64_t{100000}}) {
    fs::remove_all(folder_);
    auto writer = PackedFileWriter::create(prefix(), {vocab_size, 2, kTokens});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    std::vector<int32_t> expected;
    for (uint64_t d = 0; d < 30; ++d) {
      std::vector<int32_t> document;
      const uint64_t length = philox(1, d, 0)[0] % 40;
      for (uint64_t i = 0; i < length; ++i)
        document.push_back(static_cast<int32_t>(philox(2, d, i)[0] % static_cast<uint64_t>(vocab_size)));
      ASSERT_TRUE(writer->add_document(document).ok());
      expected.insert(expected.end(), document.begin(), document.end());
      expected.push_back(2);
    }
    EXPECT_FALSE(fs::exists(path(0))) << "before all are there";
    ASSERT_TRUE(writer->finish().ok());
    EXPECT_EQ(writer->documents(), 30);
    EXPECT_EQ(writer->tokens(), static_cast<int64_t>(expected.size()));
    std::vector<int32_t> got;
    const auto files = open_token_files(prefix() + "_*.bin", vocab_size, 2, threads_);
    ASSERT_TRUE(files.ok()) << files.error().message;
    EXPECT_EQ(static_cast<int64_t>(files->size()), writer->files());
    for (const TokenFile& file : *files) {
      EXPECT_EQ(file.tokens(), kTokens);
      EXPECT_EQ(file.width(), vocab_size < 65500 ? TokenWidth::kU16 : TokenWidth::kU32);
      std::vector<int32_t> ids(kTokens);
      file.read(0, ids);
      got.insert(got.end(), ids.begin(), ids.end());
    }
    expected.resize(got.size(), 2);
    EXPECT_EQ(got, expected) << vocab_size;
  }
}

TEST_F(PackedFileTest, RowsWithinFilesShareNoTokenAndLeaveTheirEnds) {
  auto writer = PackedFileWriter::create(prefix(), {1000, 999, 10});
  std::vector<int32_t> document(29);
  for (size_t i = 0; i < document.size(); ++i) document[i] = static_cast<int32_t>(i);
  ASSERT_TRUE(writer->add_document(document).ok());
  ASSERT_TRUE(writer->finish().ok());
  auto stream = std::make_shared<TokenStream>(
      TokenStream::create(open_token_files(prefix() + "_*.bin", 1000, 999, threads_).value()).value());
  const auto rows = PackedRows::create_in_files(stream, 4);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->rows(), 6);
  EXPECT_EQ(rows->rows_of_files(), (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(rows->row(1), (std::vector<int32_t>{4, 5, 6, 7}));
  EXPECT_EQ(rows->row(2), (std::vector<int32_t>{10, 11, 12, 13}));
  EXPECT_EQ(rows->row(5), (std::vector<int32_t>{24, 25, 26, 27}));
  EXPECT_EQ(PackedRows::create_in_files(stream, 11).error().message,
            "none of the token files holds a row of 11 tokens");
}

TEST_F(PackedFileTest, OfDamagedFilesTheFirstIsNamed) {
  auto writer = PackedFileWriter::create(prefix(), {1000, 999, 10});
  ASSERT_TRUE(writer->add_document(std::vector<int32_t>(79, 5)).ok());
  ASSERT_TRUE(writer->finish().ok());
  for (const int64_t damaged : {6, 3, 7}) fs::resize_file(path(damaged), 43);
  const auto files = open_token_files(prefix() + "_*.bin", 1000, 999, threads_);
  ASSERT_FALSE(files.ok());
  EXPECT_EQ(files.error().message, path(3) + ": 10 ids of 2 bytes do not make a file of 43 bytes");
  fs::remove(path(0));
  EXPECT_EQ(open_token_files(prefix() + "_*.bin", 1000, 999, threads_).error().kind, ErrorKind::kNotFound);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

// Whatever operation fails, there is all of a packing or nothing that is taken for one.
TEST_F(PackedFileTest, WhatFailsLeavesNoPacking) {
  const auto pack = [&]() -> Status {
    FATHOM_ASSIGN(PackedFileWriter writer, PackedFileWriter::create(prefix(), {10, 9, 4}));
    FATHOM_TRY(writer.add_document(std::vector<int32_t>(10, 1)));
    return writer.finish();
  };
  int64_t failures = 0;
  for (int64_t failing = 0;; ++failing) {
    int64_t number = 0;
    bool last = false;  // the flush of the folder: the files have their names
    set_file_fault([&](FileOp op, const std::string& at) -> FileOutcome {
      // Without a lock another temporary is taken; what cannot be removed stays.
      if (op == FileOp::kLock || op == FileOp::kUnlink || number++ != failing) return {};
      last = op != FileOp::kMkdir && at == folder_.string();
      return EIO;
    });
    const Status status = pack();
    set_file_fault({});
    if (status.ok()) break;
    ++failures;
    EXPECT_EQ(names_in(folder_).size(), last ? 3U : 0U) << failing << ": " << status.error().message;
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  EXPECT_GE(failures, 12) << "three files, each opened, written, flushed, and renamed";
  EXPECT_EQ(names_in(folder_).size(), 3U);
}

TEST_F(PackedFileTest, FilesOfAnEarlierPackingAreNotTouched) {
  for (const int64_t left : {int64_t{0}, int64_t{7}}) {
    ASSERT_TRUE(write_file_atomic(path(left), "before").ok());
    EXPECT_EQ(PackedFileWriter::create(prefix(), {10, 9, 4}).error().message,
              path(left) + " exists already; choose another name for the files");
    EXPECT_EQ(*read_file(path(left)), "before");
    fs::remove(path(left));
  }
  for (const char* other : {"part_1.bin", "part_0000000000.txt", "part_000000000x.bin", "art_0000000000.bin"})
    ASSERT_TRUE(write_file_atomic((folder_ / other).string(), "other").ok());
  EXPECT_TRUE(PackedFileWriter::create(prefix(), {10, 9, 4}).ok());
}

TEST_F(PackedFileTest, NothingOfADocumentWithAWrongIdIsWritten) {
  auto writer = PackedFileWriter::create(prefix(), {10, 9, 4});
  ASSERT_TRUE(writer->add_document(std::vector<int32_t>{1}).ok());
  EXPECT_EQ(writer->add_document(std::vector<int32_t>{1, 10}).error().message,
            "token 1 of document 1 is id 10, outside the vocabulary of 10");
  EXPECT_EQ(writer->tokens(), 2);
  EXPECT_EQ(PackedFileWriter::create(prefix(), {10, 10, 4}).error().message,
            "end of document is id 10 in a vocabulary of 10");
  EXPECT_EQ(PackedFileWriter::create(prefix(), {10, 9, 0}).error().message,
            "packed files of 0 tokens, expected 1 to 268435456");
}

// Both kinds are called .bin: the first bytes tell.
TEST_F(PackedFileTest, HeaderlessFilesAreStillRead) {
  const std::string raw = (folder_ / "raw.bin").string();
  ASSERT_TRUE(write_file_atomic(raw, std::string("\1\0\2\0\3\0", 6)).ok());
  const auto file = TokenFile::open_any(raw, 10, 2);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->tokens(), 3);
  EXPECT_EQ(file->documents(), 2);
}

}  // namespace
}  // namespace fathom
