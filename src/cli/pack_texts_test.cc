// Rows of text and token files: those that are wanted, and no more text than they need.
#include "cli/pack_texts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "data/token_file_writer.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

class PackTexts : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // Of `documents` documents with 9 bytes each.
  void write_lines(const std::string& name, int documents) const {
    std::string lines;
    for (int i = 0; i < documents; ++i) lines += "{\"text\": \"" + std::to_string(100'000'000 + i) + "\"}\n";
    ASSERT_TRUE(write_file_atomic(path(name), lines).ok());
  }
  Result<PackedRows> pack(const std::vector<std::string>& paths, int64_t rows,
                          Parallel* threads = nullptr) const {
    return pack_texts(
        paths, TextCodec::open("bytes").value(),
        {.text = {}, .length = 33, .stride = 32, .vocab_size = 257, .rows = rows, .threads = threads},
        folder_);
  }
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-pack-texts-" + std::to_string(::getpid()))).string();
};

TEST_F(PackTexts, NoMoreTextIsReadThanTheRowsNeed) {
  write_lines("a.jsonl", 10'000);
  const Result<PackedRows> all = pack({path("a.jsonl")}, 0);
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_EQ(all->stream().tokens(), 100'000);
  ThreadPool pool(3);
  for (Parallel* threads : {static_cast<Parallel*>(nullptr), static_cast<Parallel*>(&pool)}) {
    for (const int64_t rows : {int64_t{1}, int64_t{7}, int64_t{100}}) {
      const Result<PackedRows> some = pack({path("a.jsonl")}, rows, threads);
      ASSERT_TRUE(some.ok()) << some.error().message;
      EXPECT_GE(some->rows(), rows);
      EXPECT_LT(some->stream().tokens(), rows * 32 + 1 + 10) << "a document beyond the last row";
      for (int64_t row = 0; row < rows; ++row) {
        EXPECT_EQ(some->row(row), all->row(row));
        EXPECT_EQ(some->document_cuts(row), all->document_cuts(row));
      }
    }
  }
  const Result<PackedRows> more = pack({path("a.jsonl")}, int64_t{1} << 62);
  ASSERT_TRUE(more.ok()) << more.error().message;
  EXPECT_EQ(more->rows(), all->rows());
}

TEST_F(PackTexts, TokenFilesComeFirstAndCount) {
  Result<TokenFileWriter> writer = TokenFileWriter::create(path("x.tokens"), {257, 256});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->add_document(std::vector<int32_t>(99, 7)).ok());
  ASSERT_TRUE(writer->finish().ok());
  write_lines("a.jsonl", 100);
  EXPECT_EQ(pack({path("a.jsonl"), path("x.tokens")}, 0).value().stream().tokens(), 100 + 1000);
  EXPECT_EQ(pack({path("a.jsonl"), path("x.tokens")}, 4).value().stream().tokens(), 100 + 30);
  // Enough without the text, which has to be there all the same.
  EXPECT_EQ(pack({path("a.jsonl"), path("x.tokens")}, 2).value().stream().tokens(), 100 + 10);
  EXPECT_EQ(pack({path("absent"), path("x.tokens")}, 2).error().message,
            path("absent") + ": neither a file nor a directory");
}

}  // namespace
}  // namespace fathom::cli
