#include "cli/batch/batch_file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace fathom::cli::batch {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class BatchFile : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string put(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
    return folder_ + "/" + name;
  }
  static std::string content_of(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }
  static std::string message(const Result<int64_t>& result) {
    return result.ok() ? "accepted" : result.error().message;
  }

  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-batch-file-" + std::to_string(::getpid()))).string();
};

std::string request(const std::string& id) {
  return R"({"custom_id": ")" + id +
         R"(", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a"}})" + "\n";
}

TEST_F(BatchFile, RequestsAreReadLineByLine) {
  const std::string path = put("in", request("a") + "\n  \r\n" + request("b"));
  EXPECT_EQ(*check_batch(path), 2);
  BatchInput input = BatchInput::open(path).value();
  EXPECT_EQ((*input.next())->custom_id, "a");
  const BatchLine second = **input.next();
  EXPECT_EQ(second.custom_id, "b");
  EXPECT_FALSE(second.chat);
  EXPECT_EQ(second.body["prompt"], "a");
  EXPECT_FALSE((*input.next()).has_value());
}

TEST_F(BatchFile, WhatIsNoRequestIsRefusedWithItsPlace) {
  const auto refusal = [&](const std::string& line) {
    return message(check_batch(put("in", request("a") + line)));
  };
  EXPECT_THAT(refusal("{"), HasSubstr("in, line 2: "));
  EXPECT_THAT(refusal("7"), HasSubstr("line 2: is an integer, expected an object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("line 2: has no custom_id"));
  EXPECT_THAT(refusal(R"({"custom_id": 1})"), HasSubstr("custom_id is an integer, expected a string"));
  EXPECT_THAT(refusal(R"({"custom_id": ""})"), HasSubstr("custom_id has 0 bytes, expected 1 to 512"));
  EXPECT_THAT(refusal(R"({"custom_id": "b", "method": "GET"})"),
              HasSubstr("method is \"GET\", expected \"POST\""));
  EXPECT_THAT(refusal(R"({"custom_id": "b", "url": "/v1/embeddings"})"),
              HasSubstr("url is \"/v1/embeddings\""));
  EXPECT_THAT(refusal(R"({"custom_id": "b", "url": "/v1/completions"})"), HasSubstr("has no body"));
  EXPECT_THAT(refusal(request("a")), HasSubstr("the custom_id \"a\" is there twice"));
}

TEST_F(BatchFile, TheOutputSaysWhatIsDone) {
  const std::string path = folder_ + "/out";
  {
    BatchOutput output = BatchOutput::open(path).value();
    ASSERT_TRUE(output.write("a", 200, {{"x", 1}}).ok());
    ASSERT_TRUE(output.write("b", 400, {{"error", "no"}}).ok());
    ASSERT_TRUE(output.close().ok());
  }
  const std::string whole = content_of(path);
  const nlohmann::json first = nlohmann::json::parse(whole.substr(0, whole.find('\n')));
  EXPECT_EQ(first["custom_id"], "a");
  EXPECT_EQ(first["response"]["status_code"], 200);
  EXPECT_EQ(first["response"]["body"]["x"], 1);
  EXPECT_TRUE(first["error"].is_null());
  // A process that was killed left the beginning of a line.
  put("out", whole + R"({"id": "batch_req_1", "custom_id": "c", "resp)");
  BatchOutput output = BatchOutput::open(path).value();
  EXPECT_EQ(content_of(path), whole);
  EXPECT_TRUE(output.has("a") && output.has("b") && !output.has("c"));
  EXPECT_EQ(output.done(), 2);
  EXPECT_EQ(output.failed(), 1);
}

TEST_F(BatchFile, AFileOfSomethingElseIsNotTouched) {
  const std::string path = put("out", "my notes\nand more");
  const Result<BatchOutput> output = BatchOutput::open(path);
  ASSERT_FALSE(output.ok());
  EXPECT_THAT(output.error().message, HasSubstr("out, line 1 is no result of a batch"));
  EXPECT_EQ(content_of(path), "my notes\nand more");
}

}  // namespace
}  // namespace fathom::cli::batch
