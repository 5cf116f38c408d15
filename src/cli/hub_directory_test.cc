// Model directories as they lie on the Hugging Face Hub, with what older and newer programs left in them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "cli/loaded_model.h"
#include "io/model_directory.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "text/testing.h"
#include "weights/fresh_weights.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class HubDirectory : public ::testing::Test {
 protected:
  void SetUp() override { write_model(testing_plan::tiny()); }
  void write_model(ModelSpec spec) {
    ASSERT_TRUE(remove_tree(folder_).ok());
    ASSERT_TRUE(make_directories(folder_).ok());
    spec.vocab_size = 301;
    SerialParallel serial;
    ASSERT_TRUE(write_fresh_weights(folder_, *build_plan(spec), 1, DType::kF32, serial).ok());
    config_ = json::parse(write_config_json(spec));
    write("config.json", config_.dump());
    write("tokenizer.json", text::testing::small_json().dump());
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(folder_).ok()); }
  void write(const std::string& name, const std::string& content) const {
    ASSERT_TRUE(write_file_atomic(folder_ + "/" + name, content).ok());
  }
  // The weights again, with one more tensor.
  void add_tensor(const std::string& name) const {
    const Result<WeightFiles> files = WeightFiles::open(folder_);
    ASSERT_TRUE(files.ok());
    std::vector<TensorView> tensors;
    for (const StoredTensor& stored : files->tensors())
      tensors.push_back({{stored.info->name, stored.info->dtype, stored.info->shape}, stored.bytes()});
    const std::vector<float> values = {1, 0.1F, 0.01F, 0.001F};
    tensors.push_back(view_of(name, DType::kF32, {4}, values));
    ASSERT_TRUE(write_weight_files(folder_, tensors).ok());
  }
  Result<LoadedModel> load() const { return load_model(folder_, {.named = DType::kF32}); }
  std::string refusal() const {
    const Result<LoadedModel> model = load();
    return model.ok() ? "accepted" : model.error().message;
  }

  std::string folder_ = (fs::temp_directory_path() / ("fathom-hub-" + std::to_string(::getpid()))).string();
  json config_;
};

TEST_F(HubDirectory, KeysThatChangeNothingArePassedOver) {
  config_.update({{"unsloth_version", "2025.3"},
                  {"attention_dropout", 0.1},
                  {"auto_map", {{"AutoConfig", "a.B"}}},
                  {"quantization_config", nullptr}});
  write("config.json", config_.dump());
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(HubDirectory, TablesOfPositionsAreNoParameters) {
  add_tensor("model.layers.0.self_attn.rotary_emb.inv_freq");
  EXPECT_EQ(refusal(), "accepted");
  add_tensor("model.layers.0.self_attn.inv_freq");
  EXPECT_EQ(refusal(),
            folder_ + ": tensor model.layers.0.self_attn.inv_freq belongs to no parameter of this model");
}

TEST_F(HubDirectory, TheModelSaysWhatEndsATextWhereTheTokenizerDoesNot) {
  write("tokenizer_config.json", R"({"model_max_length": 1024})");
  config_["eos_token_id"] = 300;
  write("config.json", config_.dump());
  const Result<LoadedModel> model = load();
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->codec.end_of_text(), 300);
  EXPECT_EQ(model->codec.start_of_text(), 300);
  EXPECT_EQ(model->end_ids, (std::vector<int32_t>{300}));
}

TEST_F(HubDirectory, WhatPhi4MiniFlashSaysOfItsEndIsAskedOfItsTokenizerFirst) {
  write_model(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/phi4flash.toml"));
  config_["eos_token_id"] = 2;  // the default of its class, an ordinary token
  write("config.json", config_.dump());
  const auto ends = [&] {
    const Result<LoadedModel> model = load();
    EXPECT_TRUE(model.ok()) << model.error().message;
    return model.ok() ? model->end_ids : std::vector<int32_t>();
  };
  EXPECT_EQ(ends(), (std::vector<int32_t>{300}));  // <|end|>
  write("generation_config.json", R"({"eos_token_id": [7, 300]})");
  EXPECT_EQ(ends(), (std::vector<int32_t>{7, 300}));
  write("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(ends(), (std::vector<int32_t>{300}));
  json tokenizer = text::testing::small_json();
  tokenizer["added_tokens"][0]["content"] = "<|other|>";
  write("tokenizer.json", tokenizer.dump());
  EXPECT_EQ(ends(), (std::vector<int32_t>{2}));
}

TEST_F(HubDirectory, TheOlderFilesOfATokenizerAreRead) {
  ASSERT_TRUE(fs::remove(folder_ + "/tokenizer.json"));
  const json tokenizer = text::testing::small_json();
  write("vocab.json", tokenizer["model"]["vocab"].dump());
  write("merges.txt", "#version: 0.2\nh e\n");
  const Result<LoadedModel> model = load();
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->codec.encode("he"), (std::vector<int32_t>{257}));
}

}  // namespace
}  // namespace fathom::cli
