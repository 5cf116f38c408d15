// Text becomes documents and documents become shards, in an order that depends on names only.
#include "data/text_documents.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "data/token_file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

class TextDocumentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-text-" + std::to_string(::getpid()))).string();
    for (const char* name : {"b.txt", "a.txt", "c.md", "sub/z.txt", "other.md"}) put(name, name);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(path(name)).parent_path());
    ASSERT_TRUE(write_file_atomic(path(name), text).ok());
  }
  Strings documents(const TextSettings& settings, const std::string& text) const {
    put("x", text);
    Strings found;
    const Status status = for_each_document({path("x")}, settings, [&](std::string_view document) -> Status {
      found.emplace_back(document);
      return {};
    });
    EXPECT_TRUE(status.ok());
    return found;
  }
  std::string folder_;
};

TEST_F(TextDocumentsTest, DirectoriesAreSortedAndFilesKeepTheGivenOrder) {
  EXPECT_EQ(*list_text_files({path("other.md"), folder_, path("a.txt")}, {}),
            (Strings{path("other.md"), path("a.txt"), path("b.txt"), path("sub/z.txt"), path("a.txt")}));
  TextSettings markdown;
  markdown.extensions = {".md"};
  EXPECT_EQ(*list_text_files({folder_}, markdown), (Strings{path("c.md"), path("other.md")}));
  EXPECT_EQ(list_text_files({path("absent")}, {}).error().message,
            path("absent") + ": neither a file nor a directory");
  markdown.extensions = {".json", ".csv"};
  EXPECT_EQ(list_text_files({folder_}, markdown).error().message,
            folder_ + ": holds no file that ends in .json, .csv");
}

TEST_F(TextDocumentsTest, WithoutASeparatorAFileIsOneDocumentByteForByte) {
  for (const std::string text : {"", "\n a \r\n", "\xef\xbb\xbf\xff"}) {
    EXPECT_EQ(documents({}, text), (Strings{text}));
  }
}

TEST_F(TextDocumentsTest, ASeparatorSplitsAndBlankPiecesVanish) {
  TextSettings settings;
  settings.separator = "<|endoftext|>";
  EXPECT_EQ(documents(settings, "one\ntwo\n<|endoftext|>\n three \n\n<|endoftext|>\n \n<|endoftext|>four"),
            (Strings{"one\ntwo", " three ", "four"}));
  EXPECT_EQ(documents(settings, "<|endoftext|>a<|endoftext|>"), (Strings{"a"}));
  EXPECT_EQ(documents(settings, "<|endoftext|"), (Strings{"<|endoftext|"}));
  EXPECT_EQ(documents(settings, ""), Strings{});
  settings.separator = "\n\n\n";
  EXPECT_EQ(documents(settings, "a\n\nb\n\n\n\n\nc\n"), (Strings{"a\n\nb", "c"}));
  settings.separator = "";
  EXPECT_EQ(
      for_each_document({path("x")}, settings, [](std::string_view) { return Status(); }).error().message,
      "the document separator is empty");
}

TEST_F(TextDocumentsTest, AFileMayHaveAnySize) {
  put("x", "one--two");
  fs::resize_file(path("x"), uint64_t{1} << 36);  // zeros from there, which take no room
  TextSettings settings;
  settings.separator = "--";
  Result<DocumentReader> reader = DocumentReader::create({path("x")}, settings);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  std::string_view document;
  const Result<bool> first = reader->next(document);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(document, "one");
  EXPECT_EQ(reader->bytes_read(), 5);
}

TEST_F(TextDocumentsTest, ADocumentMayNotBe) {
  TextSettings settings;
  settings.separator = "-";
  settings.max_document_bytes = 4;
  EXPECT_EQ(documents(settings, "four-\n-four\n-4"), (Strings{"four", "four", "4"}));
  put("y", "four- -fives-4");
  Strings found;
  const Status status =
      for_each_document({path("x"), path("y")}, settings, [&](std::string_view document) -> Status {
        found.emplace_back(document);
        return {};
      });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message,
            path("y") +
                ", document 2: 5 bytes, expected at most 4; a document separator cuts a file into "
                "smaller ones");
  EXPECT_EQ(found, (Strings{"four", "four", "4", "four"}));
}

TEST_F(TextDocumentsTest, APipeIsNoText) {
  ASSERT_EQ(::mkfifo(path("pipe.txt").c_str(), 0600), 0);
  EXPECT_EQ(list_text_files({path("pipe.txt")}, {}).error().message,
            path("pipe.txt") + ": neither a file nor a directory");
}

TEST_F(TextDocumentsTest, TheFirstErrorOfTheVisitorStops) {
  int seen = 0;
  const Status status =
      for_each_document({path("a.txt"), path("absent")}, {}, [&](std::string_view) -> Status {
        ++seen;
        return invalid("enough");
      });
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(status.error().message, "enough");
}

// Documents of all sizes, from nothing to more than what is read before ids are made of it.
class EncodeDocumentsTest : public TextDocumentsTest {
 protected:
  void SetUp() override {
    TextDocumentsTest::SetUp();
    std::string lines, large;
    for (int i = 0; i < 3000; ++i) {
      lines += "{\"text\": \"";
      for (int word = 0; word < i % 60; ++word) lines += std::to_string(i * word) + " ";
      lines += "\"}\n";
    }
    for (int i = 0; i < 400'000; ++i) large += std::to_string(i);
    put("lines.jsonl", lines);
    put("large.txt", large);
    put("more.jsonl", lines);
  }
  std::vector<std::string> all() const {
    return {path("lines.jsonl"), path("large.txt"), path("a.txt"), path("more.jsonl")};
  }
  static Result<std::vector<int32_t>> bytes(std::string_view text) { return tokenize_bytes(text); }
  // The bytes of the shard, or the error.
  std::string shard(int threads, int64_t most_tokens, const Tokenize& tokenize = bytes) {
    ThreadPool pool(threads);
    const auto summary = write_shard_from_text(all(), {}, tokenize, {kByteVocabSize, kByteEndOfDocument},
                                               path("out.tokens"), pool, most_tokens);
    if (!summary.ok()) return summary.error().message;
    summary_ = *summary;
    return *read_file(path("out.tokens"));
  }
  ShardSummary summary_;
};

constexpr int64_t kAllTokens = std::numeric_limits<int64_t>::max();

TEST_F(EncodeDocumentsTest, TheShardIsTheSameForAnyNumberOfThreads) {
  const std::string one = shard(1, kAllTokens);
  EXPECT_EQ(summary_.documents, 6002);
  EXPECT_EQ(summary_.bytes_read, summary_.bytes);
  for (int threads : {2, 5}) EXPECT_TRUE(shard(threads, kAllTokens) == one) << threads;
  const auto file = TokenFile::open(path("out.tokens"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  int64_t at = 0;
  ASSERT_TRUE(for_each_document(all(), {}, [&](std::string_view document) -> Status {
                std::vector<int32_t> ids(document.size() + 1);
                file->read(at, ids);
                at += static_cast<int64_t>(ids.size());
                std::vector<int32_t> expected = tokenize_bytes(document);
                expected.push_back(kByteEndOfDocument);
                return ids == expected ? Status() : invalid("other ids before " + std::to_string(at));
              }).ok());
  EXPECT_EQ(at, file->tokens());
}

TEST_F(EncodeDocumentsTest, ErrorsAreThoseOfTheFirstDocumentForAnyNumberOfThreads) {
  const Tokenize refuse = [](std::string_view text) -> Result<std::vector<int32_t>> {
    if (text.starts_with("0 2000 ") || text.starts_with("0 2001 "))
      return invalid("no " + std::string(text, 0, 6));
    return tokenize_bytes(text);
  };
  for (int threads : {1, 4}) EXPECT_EQ(shard(threads, kAllTokens, refuse), "no 0 2000") << threads;
  put("more.jsonl", "{\"text\": \"a\"}\n\n3\n");
  for (int threads : {1, 4}) {
    EXPECT_EQ(shard(threads, kAllTokens), path("more.jsonl") + ", line 3: is an integer, expected an object");
    EXPECT_FALSE(fs::exists(path("out.tokens")));
  }
}

TEST_F(EncodeDocumentsTest, ItStopsWhereTokensAreEnough) {
  put("more.jsonl", "no JSON\n");
  put("a.txt", "");
  fs::resize_file(path("a.txt"), (uint64_t{4} << 30) + 1);  // a document that is refused
  for (int threads : {1, 4}) {
    const std::string made = shard(threads, 1000);
    const auto file = TokenFile::open(path("out.tokens"));
    ASSERT_TRUE(file.ok()) << made.substr(0, 200);
    EXPECT_GE(file->tokens(), 1000);
    EXPECT_LT(file->tokens(), 1000 + 60 * 8);
    EXPECT_EQ(summary_.tokens, file->tokens());
    EXPECT_EQ(summary_.documents, file->documents());
    const std::string lines = *read_file(path("lines.jsonl"));
    const std::string read = lines.substr(0, static_cast<size_t>(summary_.bytes_read));
    EXPECT_EQ(std::ranges::count(read, '\n'), file->documents());
    EXPECT_GT(summary_.bytes, int64_t{4} << 30);
  }
}

TEST_F(TextDocumentsTest, BytesBecomeAShard) {
  put("x", std::string("\0\xff"
                       "a",
                       3));
  const auto bytes = [](std::string_view text) -> Result<std::vector<int32_t>> {
    return tokenize_bytes(text);
  };
  SerialParallel serial;
  const auto summary =
      write_shard_from_text({path("x"), path("a.txt")}, {}, bytes, {kByteVocabSize, kByteEndOfDocument},
                            path("out.tokens"), serial);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(summary->files, 2);
  EXPECT_EQ(summary->documents, 2);
  EXPECT_EQ(summary->tokens, 10);
  const auto file = TokenFile::open(path("out.tokens"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  std::vector<int32_t> ids(10);
  file->read(0, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 255, 'a', 256, 'a', '.', 't', 'x', 't', 256}));
}

TEST_F(TextDocumentsTest, AFailingTokenizerLeavesNoShard) {
  const auto refuse = [](std::string_view) -> Result<std::vector<int32_t>> {
    return invalid("not my language");
  };
  SerialParallel serial;
  const auto summary =
      write_shard_from_text({path("a.txt")}, {}, refuse, {10, 9}, path("out.tokens"), serial);
  EXPECT_EQ(summary.error().message, "not my language");
  EXPECT_FALSE(fs::exists(path("out.tokens")));
}

}  // namespace
}  // namespace fathom
