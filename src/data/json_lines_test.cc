// Each line is a document, and a bad one is named by its number.
#include "data/json_lines.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "data/text_documents.h"
#include "data/token_file.h"

namespace fathom {
namespace {

class JsonLinesTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void put(const std::string& content) const {
    std::filesystem::create_directories(folder_);
    ASSERT_TRUE(write_file_atomic(path_, content).ok());
  }
  std::vector<std::string> texts(const std::string& content, const std::string& field = "text") const {
    put(content);
    std::vector<std::string> found;
    const Status status = read(field, found);
    EXPECT_TRUE(status.ok()) << status.error().message;
    return found;
  }
  Status read(const std::string& field, std::vector<std::string>& found) const {
    FATHOM_ASSIGN(JsonLineReader lines, JsonLineReader::open(path_, field));
    for (std::string text;;) {
      FATHOM_ASSIGN(const bool more, lines.next(text));
      if (!more) return {};
      found.push_back(text);
    }
  }
  // What stands behind "<path>, ".
  std::string refusal(const std::string& content) const {
    put(content);
    std::vector<std::string> found;
    const Status status = read("text", found);
    if (status.ok()) return "";
    EXPECT_TRUE(status.error().message.starts_with(path_ + ", ")) << status.error().message;
    return status.error().message.substr(path_.size() + 2);
  }
  std::string folder_ =
      (std::filesystem::temp_directory_path() / ("json-lines-" + std::to_string(getpid()))).string();
  std::string path_ = folder_ + "/x.jsonl";
};

using Strings = std::vector<std::string>;

TEST_F(JsonLinesTest, EachLineIsADocument) {
  EXPECT_EQ(texts("{\"text\": \"one\"}\n{\"id\": 7, \"text\": \"two\\nlines \\u00e9 \\ud83d\\ude00\"}\n"),
            (Strings{"one", "two\nlines \u00e9 \U0001F600"}));
  EXPECT_EQ(texts("{\"text\": \"no line break at the end\"}"), (Strings{"no line break at the end"}));
  EXPECT_EQ(texts("\n{\"text\":\"a\"}\r\n  \t\r\n{\"text\":\"\"}\n\n"), (Strings{"a", ""}));
  EXPECT_EQ(texts("{\"body\": \"b\", \"text\": 3}\n", "body"), (Strings{"b"}));
  EXPECT_TRUE(texts("").empty());
}

TEST_F(JsonLinesTest, WhatIsWrongIsNamedWithItsLine) {
  const std::string good = "{\"text\": \"a\"}\n\n";
  EXPECT_EQ(refusal(good + "{\"txt\": \"b\", \"id\": 1}\n"), "line 3: no field \"text\", only id, txt");
  EXPECT_EQ(refusal(good + "{\"text\": [\"b\"]}\n"), "line 3: \"text\" is an array, expected a string");
  EXPECT_EQ(refusal(good + "\"b\"\n"), "line 3: is a string, expected an object");
  EXPECT_EQ(refusal(good + "{\"text\": \"b\"\n{\"text\": \"c\"}\n").substr(0, 16), "line 3, column 1");
  EXPECT_EQ(refusal(good + "text\n").substr(0, 8), "line 3, ");
  EXPECT_NE(refusal("{\"text\": \"\xff\"}\n").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal("{\"text\": \"\\ud800\"}\n").find("line 1, column "), std::string::npos);
  EXPECT_NE(refusal("{\"text\": \"a\", \"text\": \"b\"}\n").find("duplicate key \"text\""),
            std::string::npos);
}

TEST_F(JsonLinesTest, ALineIsReadWhenItIsAskedFor) {
  const std::string first = "\n{\"text\": \"a\"}\n";
  put(first + "no JSON\n");
  Result<JsonLineReader> lines = JsonLineReader::open(path_, "text");
  ASSERT_TRUE(lines.ok());
  EXPECT_EQ(lines->bytes_read(), 0U);
  std::string text;
  EXPECT_TRUE(lines->next(text).value());
  EXPECT_EQ(text, "a");
  EXPECT_EQ(lines->bytes_read(), first.size());
  EXPECT_FALSE(lines->next(text).ok());
}

TEST_F(JsonLinesTest, AShardHasADocumentForEachLine) {
  put("{\"text\": \"ab\"}\n{\"text\": \"\"}\n{\"text\": \"c\"}\n");
  const Tokenize bytes = [](std::string_view text) -> Result<std::vector<int32_t>> {
    return tokenize_bytes(text);
  };
  SerialParallel serial;
  const Result<ShardSummary> summary = write_shard_from_text(
      {folder_}, {}, bytes, {kByteVocabSize, kByteEndOfDocument}, folder_ + "/shard.tokens", serial);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  const Result<TokenFile> shard = TokenFile::open(folder_ + "/shard.tokens");
  ASSERT_TRUE(shard.ok());
  std::vector<int32_t> ids(static_cast<size_t>(shard->tokens()));
  shard->read(0, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{'a', 'b', 256, 256, 'c', 256}));
  EXPECT_EQ(shard->documents(), 3);
}

}  // namespace
}  // namespace fathom
