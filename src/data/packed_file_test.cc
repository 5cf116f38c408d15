// Packed files say what was written into them, whatever the documents' lengths.
#include <gtest/gtest.h>
#include <unistd.h>

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
};

TEST_F(PackedFileTest, DocumentsGoOnInTheNextFileAndTheLastOneIsFilled) {
  constexpr int64_t kTokens = 64;
  for (int64_t vocab_size : {int64_t{300}, int64_t{65499}, int64_t{65500}, int64_t{100000}}) {
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
    ASSERT_TRUE(writer->finish().ok());
    fs::remove(path(writer->files()));  // of the vocabulary before
    EXPECT_EQ(writer->documents(), 30);
    EXPECT_EQ(writer->tokens(), static_cast<int64_t>(expected.size()));
    std::vector<int32_t> got;
    const auto files = open_token_files(prefix() + "_*.bin", vocab_size, 2);
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
      TokenStream::create(open_token_files(prefix() + "_*.bin", 1000, 999).value()).value());
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
