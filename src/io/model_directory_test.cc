// A model directory that was written is read back whole; broken ones say which file is wrong.
#include "io/model_directory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class ModelDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (fs::temp_directory_path() / ("fathom-model-" + std::to_string(::getpid()))).string();
    fs::remove_all(path_);
  }
  void TearDown() override { fs::remove_all(path_); }
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories(path_);
    ASSERT_TRUE(write_file_atomic(path_ + "/" + name, text).ok());
  }
  std::string path_;
};

TEST_F(ModelDirectoryTest, WhatIsWrittenIsRead) {
  const std::vector<float> values = {1, 2, 3};
  ModelDirectoryContent content;
  content.config = {{"model_type", "test"}, {"eos_token_id", 1}};
  content.generation_config = {{"eos_token_id", {5, 6}}, {"temperature", 0.5}};
  content.files = {{"tokenizer.json", "{}"}, {"notes.txt", "hello"}};
  content.tensors = {view_of("a", DType::kF32, {3}, values), view_of("b", DType::kF32, {3}, values)};
  for (uint64_t shard : {12, 1000}) {
    content.max_shard_bytes = shard;
    ASSERT_TRUE(write_model_directory(path_, content).ok());
    const auto model = ModelDirectory::open(path_);
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_EQ(model->config()["model_type"], "test");
    EXPECT_EQ(model->generation_config()["temperature"], 0.5);
    EXPECT_EQ(model->tokenizer_files(), (std::vector<std::string>{"tokenizer.json"}));
    EXPECT_EQ(*model->end_of_text_ids(), (std::vector<int32_t>{5, 6}));
    EXPECT_TRUE(model->has("notes.txt"));
    const auto weights = model->open_weights();
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    EXPECT_EQ(*weights->read_as_f32("b"), values);
    // The second round replaces shards by one file: nothing of the first remains.
    EXPECT_EQ(fs::exists(path_ + "/model.safetensors.index.json"), shard == 12);
  }
}

TEST_F(ModelDirectoryTest, EndOfTextComesFromTheConfigWhenGenerationSaysNothing) {
  put("config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(*ModelDirectory::open(path_)->end_of_text_ids(), (std::vector<int32_t>{7}));
  put("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(*ModelDirectory::open(path_)->end_of_text_ids(), (std::vector<int32_t>{7}));
  for (const char* none : {"-1", "[-1]", "[]"}) {
    put("generation_config.json", "{\"eos_token_id\": " + std::string(none) + "}");
    EXPECT_EQ(*ModelDirectory::open(path_)->end_of_text_ids(), (std::vector<int32_t>{7})) << none;
  }
  put("config.json", R"({"eos_token_id": -1})");
  EXPECT_TRUE(ModelDirectory::open(path_)->end_of_text_ids()->empty());
  put("config.json", "{}");
  EXPECT_TRUE(ModelDirectory::open(path_)->end_of_text_ids()->empty());
  put("config.json", R"({"eos_token_id": [1, "x"]})");
  EXPECT_EQ(ModelDirectory::open(path_)->end_of_text_ids().error().message,
            path_ + "/config.json: eos_token_id holds a string, expected a token id");
  put("config.json", R"({"eos_token_id": -2})");
  EXPECT_EQ(ModelDirectory::open(path_).value().end_of_text_ids().error().message,
            path_ + "/config.json: eos_token_id holds a negative integer, expected a token id");
}

TEST_F(ModelDirectoryTest, BrokenDirectoriesNameTheFile) {
  EXPECT_EQ(ModelDirectory::open(path_).error().message, path_ + ": not a directory");
  fs::create_directories(path_);
  EXPECT_EQ(ModelDirectory::open(path_).error().message,
            path_ + "/config.json: cannot open: No such file or directory");
  put("config.json", "[]");
  EXPECT_EQ(ModelDirectory::open(path_).error().message,
            path_ + "/config.json: is an array, expected an object");
  put("config.json", "{\"a\": 1,\n\"a\": 2}");
  EXPECT_EQ(ModelDirectory::open(path_).error().message,
            path_ + "/config.json: line 2, column 3: duplicate key \"a\"");
}

}  // namespace
}  // namespace fathom
