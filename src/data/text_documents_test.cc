// Text becomes documents and documents become shards, in an order that depends on names only.
#include "data/text_documents.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

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

TEST_F(TextDocumentsTest, BytesBecomeAShard) {
  put("x", std::string("\0\xff"
                       "a",
                       3));
  const auto bytes = [](std::string_view text) -> Result<std::vector<int32_t>> {
    return tokenize_bytes(text);
  };
  const auto summary = write_shard_from_text({path("x"), path("a.txt")}, {}, bytes,
                                             {kByteVocabSize, kByteEndOfDocument}, path("out.tokens"));
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
  EXPECT_EQ(write_shard_from_text({path("a.txt")}, {}, refuse, {10, 9}, path("out.tokens")).error().message,
            "not my language");
  EXPECT_FALSE(fs::exists(path("out.tokens")));
}

}  // namespace
}  // namespace fathom
