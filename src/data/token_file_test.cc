// Token shards: what is written is read, whatever the cut; tests/faults has the damages that are refused.
#include "data/token_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "data/token_file_writer.h"
#include "data/token_stream.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class TokenFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-tokens-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
  }
  void TearDown() override {
    set_file_fault({});
    fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void write(const std::string& name, const std::vector<std::vector<int32_t>>& documents, int64_t vocab_size,
             std::optional<int32_t> end) const {
    auto writer = TokenFileWriter::create(path(name), {vocab_size, end});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (const auto& document : documents) ASSERT_TRUE(writer->add_document(document).ok());
    ASSERT_TRUE(writer->finish().ok());
  }

  std::string folder_;
};

std::vector<int32_t> all_tokens(const TokenFile& file) {
  std::vector<int32_t> ids(static_cast<size_t>(file.tokens()));
  file.read(0, ids);
  return ids;
}

TEST_F(TokenFileTest, WhatIsWrittenIsRead) {
  for (int64_t vocab_size : {10, 257, 65536, 65537, 1 << 30}) {
    for (bool ends : {false, true}) {
      const auto last = static_cast<int32_t>(vocab_size - 1);
      const auto end = ends ? std::optional<int32_t>(last) : std::nullopt;
      write("a", {{1, 2, 3}, {}, {last}, {0, 0}}, vocab_size, end);
      const auto file = TokenFile::open(path("a"));
      ASSERT_TRUE(file.ok()) << file.error().message;
      EXPECT_EQ(file->width(), vocab_size <= 65536 ? TokenWidth::kU16 : TokenWidth::kU32);
      EXPECT_EQ(file->vocab_size(), vocab_size);
      EXPECT_EQ(file->end_of_document(), end);
      const auto starts = file->document_starts();
      const std::vector<uint64_t> found(starts.begin(), starts.end());
      if (ends) {
        EXPECT_EQ(all_tokens(*file), (std::vector<int32_t>{1, 2, 3, last, last, last, last, 0, 0, last}));
        EXPECT_EQ(found, (std::vector<uint64_t>{0, 4, 5, 7}));
      } else {
        EXPECT_EQ(all_tokens(*file), (std::vector<int32_t>{1, 2, 3, last, 0, 0}));
        EXPECT_EQ(found, (std::vector<uint64_t>{0, 3, 4}));
      }
    }
  }
}

TEST_F(TokenFileTest, ManyBuffersOfTokensKeepTheirOrder) {
  std::vector<int32_t> document(1'500'000);
  for (size_t i = 0; i < document.size(); ++i) document[i] = static_cast<int32_t>(i * 31 % 60000);
  write("long", {document, {7}}, 60000, std::nullopt);
  const auto file = TokenFile::open(path("long"));
  ASSERT_TRUE(file.ok());
  document.push_back(7);
  EXPECT_EQ(all_tokens(*file), document);
}

TEST_F(TokenFileTest, AnEmptyShardIsLegal) {
  write("none", {}, 10, 3);
  const auto file = TokenFile::open(path("none"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->tokens(), 0);
  EXPECT_EQ(file->documents(), 0);
}

TEST_F(TokenFileTest, RawIdsAreReadWithTheGivenWidth) {
  ASSERT_TRUE(write_file_atomic(path("raw"), std::string("\1\0\7\0\2\0\3\0\7\0\4\0", 12)).ok());
  const auto file = TokenFile::open_raw(path("raw"), TokenWidth::kU16, 8, 7);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(all_tokens(*file), (std::vector<int32_t>{1, 7, 2, 3, 7, 4}));
  const auto starts = file->document_starts();
  EXPECT_EQ(std::vector<uint64_t>(starts.begin(), starts.end()), (std::vector<uint64_t>{0, 2, 5}));
  EXPECT_EQ(TokenFile::open_raw(path("raw"), TokenWidth::kU16, 8, std::nullopt)->documents(), 1);
  EXPECT_EQ(TokenFile::open_raw(path("raw"), TokenWidth::kU32, 500000, std::nullopt)->tokens(), 3);
}

TEST_F(TokenFileTest, TheWriterRefusesIdsOutsideTheVocabulary) {
  auto writer = TokenFileWriter::create(path("w"), {10, std::nullopt});
  ASSERT_TRUE(writer.ok());
  const std::vector<int32_t> good = {9}, beyond = {1, 10}, negative = {-1};
  EXPECT_TRUE(writer->add_document(good).ok());
  EXPECT_EQ(writer->add_document(beyond).error().message,
            path("w") + ": token 1 of document 1 is id 10, outside the vocabulary of 10");
  EXPECT_FALSE(writer->add_document(negative).ok());
  ASSERT_TRUE(writer->finish().ok());
  EXPECT_EQ(TokenFile::open(path("w"))->tokens(), 1);
  EXPECT_FALSE(TokenFileWriter::create(path("w"), {0, std::nullopt}).ok());
  EXPECT_FALSE(TokenFileWriter::create(path("w"), {10, 10}).ok());
}

TEST_F(TokenFileTest, AFailingWriteLeavesNoShard) {
  int failures = 0;
  for (int fail_at = 0;; ++fail_at) {
    int seen = 0;
    set_file_fault([&](FileOp op, const std::string&) {
      return op != FileOp::kUnlink && op != FileOp::kRead && seen++ == fail_at ? ENOSPC : 0;
    });
    const auto attempt = [&]() -> Status {
      FATHOM_ASSIGN(TokenFileWriter writer, TokenFileWriter::create(path("w"), {10, 9}));
      const std::vector<int32_t> ids = {1, 2};
      FATHOM_TRY(writer.add_document(ids));
      return writer.finish();
    };
    const bool ok = attempt().ok();
    set_file_fault({});
    if (ok) break;
    ++failures;
    // Only the flush of the folder fails after the shard is in place, and then it is whole.
    if (fs::exists(path("w"))) {
      EXPECT_TRUE(TokenFile::open(path("w")).ok());
    }
    fs::remove(path("w"));
    EXPECT_TRUE(fs::is_empty(folder_)) << fail_at;
  }
  EXPECT_GE(failures, 6);
}

TEST_F(TokenFileTest, AStreamIsItsFilesOneAfterAnother) {
  write("a", {{1, 2}, {3}}, 10, 9);
  write("none", {}, 10, 9);
  write("b", {{4}, {5, 6, 7}}, 10, std::nullopt);
  std::vector<TokenFile> files;
  for (const char* name : {"none", "a", "none", "b", "none"})
    files.push_back(TokenFile::open(path(name)).value());
  const auto stream = TokenStream::create(std::move(files));
  ASSERT_TRUE(stream.ok());
  const std::vector<int32_t> whole = {1, 2, 9, 3, 9, 4, 5, 6, 7};
  const std::vector<int64_t> document = {0, 0, 0, 1, 1, 2, 3, 3, 3};
  const std::vector<int64_t> starts = {0, 3, 5, 6};
  ASSERT_EQ(stream->tokens(), 9);
  EXPECT_EQ(stream->documents(), 4);
  for (int64_t begin = 0; begin <= 9; ++begin) {
    for (int64_t end = begin; end <= 9; ++end) {
      std::vector<int32_t> part(static_cast<size_t>(end - begin));
      stream->read(begin, part);
      EXPECT_EQ(part, std::vector<int32_t>(whole.begin() + begin, whole.begin() + end));
      std::vector<int64_t> expected;
      for (int64_t start : starts) {
        if (start >= begin && start < end) expected.push_back(start);
      }
      EXPECT_EQ(stream->document_starts(begin, end), expected) << begin << " " << end;
    }
  }
  for (size_t i = 0; i < document.size(); ++i)
    EXPECT_EQ(stream->document_of(static_cast<int64_t>(i)), document[i]);
}

TEST_F(TokenFileTest, AStreamKnowsItsData) {
  write("a", {{1, 2}}, 10, std::nullopt);
  write("b", {{1, 3}}, 10, std::nullopt);
  write("c", {{1, 2}}, 11, std::nullopt);
  const auto fingerprint = [&](const std::vector<const char*>& names) {
    std::vector<TokenFile> files;
    for (const char* name : names) files.push_back(TokenFile::open(path(name)).value());
    return TokenStream::create(std::move(files))->fingerprint();
  };
  EXPECT_EQ(fingerprint({"a", "b"}), fingerprint({"a", "b"}));
  EXPECT_NE(fingerprint({"a", "b"}), fingerprint({"b", "a"}));
  EXPECT_NE(fingerprint({"a"}), fingerprint({"b"}));
  std::vector<TokenFile> files;
  files.push_back(TokenFile::open(path("a")).value());
  files.push_back(TokenFile::open(path("c")).value());
  EXPECT_EQ(TokenStream::create(std::move(files)).error().message,
            path("c") + ": vocabulary of 11 entries, but " + path("a") + " has 10");
  EXPECT_FALSE(TokenStream::create({}).ok());
}

}  // namespace
}  // namespace fathom
