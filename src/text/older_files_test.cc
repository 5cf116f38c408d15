#include "text/older_files.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "text/testing.h"
#include "text/tokenizer.h"

namespace fathom::text {
namespace {

using namespace testing;
using ::testing::ElementsAre;

class OlderFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(remove_tree(folder_).ok());
    ASSERT_TRUE(make_directories(folder_).ok());
    const Json model = small_json()["model"];
    Json vocab = model["vocab"];
    vocab["<|endoftext|>"] = 260;
    write("vocab.json", vocab.dump());
    std::string merges = "#version: 0.2\n";
    for (const Json& pair : model["merges"])
      merges += pair[0].get<std::string>() + " " + pair[1].get<std::string>() + "\r\n";
    write("merges.txt", merges);
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(folder_).ok()); }
  void write(const std::string& name, const std::string& content) const {
    ASSERT_TRUE(write_file_atomic(folder_ + "/" + name, content).ok());
  }
  std::string refusal() const {
    const Result<Tokenizer> tokenizer = Tokenizer::load(folder_);
    return tokenizer.ok() ? "accepted" : tokenizer.error().message;
  }
  std::string folder_ =
      (std::filesystem::path(::testing::TempDir()) /
       ("older_files_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name())))
          .string();
};

TEST_F(OlderFiles, SayWhatATokenizerJsonSays) {
  EXPECT_TRUE(Tokenizer::is_in(folder_));
  const Result<Tokenizer> older = Tokenizer::load(folder_);
  ASSERT_TRUE(older.ok()) << older.error().message;
  const Tokenizer newer = make(small_json());
  RandomStream random(1, 0);
  for (int round = 0; round < 100; ++round) {
    const std::string text = random_text(random, random.next_below(100));
    const std::vector<int32_t> ids = older->encode(text, {.parse_special = false});
    ASSERT_EQ(ids, newer.encode(text, {.parse_special = false}));
    ASSERT_EQ(older->decode(ids), text);
  }
  EXPECT_THAT(older->encode("a<|endoftext|>"), ElementsAre('a', 260));
  EXPECT_EQ(older->special_ids().eos, 260);
  write("tokenizer.json", small_json().dump());
  EXPECT_EQ(Tokenizer::load(folder_)->token_to_id("<|endoftext|>"), std::nullopt) << "the newer file counts";
}

TEST_F(OlderFiles, AddedTokensComeFromAllThatNameThem) {
  write("added_tokens.json", R"({"<a>": 261, "<b>": 262})");
  write("special_tokens_map.json",
        R"({"pad_token": {"content": "<b>"}, "additional_special_tokens": ["he"]})");
  write("tokenizer_config.json",
        R"({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true, "added_tokens_decoder":
            {"263": {"__type": "AddedToken", "content": "<c>", "special": true, "lstrip": true}}})");
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_THAT(tokenizer->encode("<a><b> <c>"), ElementsAre(261, 262, 263));
  EXPECT_FALSE(tokenizer->is_special(261));
  EXPECT_TRUE(tokenizer->is_special(262) && tokenizer->is_special(263));
  EXPECT_TRUE(tokenizer->is_special(*tokenizer->token_to_id("he")));
  EXPECT_EQ(tokenizer->special_ids().pad, 262);
  EXPECT_THAT(tokenizer->encode("the"), ElementsAre(256, 257)) << "a space goes before";
}

TEST_F(OlderFiles, WhatIsWrongIsNamed) {
  write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer"})");
  EXPECT_EQ(refusal(), folder_ +
                           "/tokenizer_config.json: tokenizer_class is \"Qwen2Tokenizer\" and there is no "
                           "tokenizer.json; without one only GPT2Tokenizer is supported");
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<c>"}}})");
  EXPECT_EQ(refusal(), folder_ +
                           "/tokenizer_config.json: added_tokens_decoder has the id \"x\", expected 0 to "
                           "4194303");
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"261": {}}})");
  EXPECT_EQ(refusal(), folder_ + ": added_tokens[1].content is missing") << "the first is <|endoftext|>";
  write("tokenizer_config.json", "{}");
  write("added_tokens.json", R"({"<a>": -1})");
  EXPECT_EQ(refusal(),
            folder_ + "/added_tokens.json: gives \"<a>\" the id -1, expected an integer from 0 to 4194303");
  write("added_tokens.json", "{}");
  write("merges.txt", "h e x\n");
  EXPECT_EQ(refusal(), folder_ + ": model.merges[0] is not two tokens: \"a b\" or [\"a\", \"b\"]");
  write("vocab.json", "[]");
  EXPECT_EQ(refusal(), folder_ + "/vocab.json: is an array, expected an object");
}

TEST(OlderFilesOfGpt2, AreReadAsTheyLie) {
  const char* shared = std::getenv("FATHOM_SHARED");
  const std::string folder =
      (shared != nullptr ? std::string(shared) : FATHOM_SOURCE_DIR "/../shared") + "/data/tokenizers/gpt2";
  if (!Tokenizer::is_in(folder)) GTEST_SKIP() << "needs FATHOM_SHARED/data/tokenizers/gpt2";
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  EXPECT_EQ(tokenizer->special_ids().eos, 50256);
  EXPECT_THAT(tokenizer->encode("Hello world<|endoftext|>"), ElementsAre(15496, 995, 50256));
}

}  // namespace
}  // namespace fathom::text
