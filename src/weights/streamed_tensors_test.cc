// What is streamed to a file are the bytes that would be written from memory, and no second copy of them.
#include "weights/streamed_tensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "io/model_directory.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "weights/checkpoint.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class StreamedCheckpoint : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ModelSpec spec = testing_plan::hybrid(GetParam(), 8);
    spec.intermediate_size = 17'000;  // gate and up together: more values than are put together at a time
    plan_ = *build_plan(spec);
    for (size_t p = 0; p < plan_.params.size(); ++p) {
      values_.emplace_back(static_cast<size_t>(elements_of(plan_.params[p])));
      for (size_t i = 0; i < values_.back().size(); ++i)
        values_.back()[i] = static_cast<float>(p) + static_cast<float>(i % 8191) / 8192;
    }
    for (const char* name : {"streamed", "whole"}) fs::create_directories(folder_ + "/" + name);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::span<const float> values(int32_t param) const { return values_[static_cast<size_t>(param)]; }
  // Whether the bytes lie in a parameter.
  bool is_of_a_parameter(std::span<const uint8_t> bytes) const {
    return std::ranges::any_of(values_, [&](const std::vector<float>& of) {
      const auto* begin = reinterpret_cast<const uint8_t*>(of.data());
      return begin <= bytes.data() && bytes.data() + bytes.size() <= begin + of.size() * sizeof(float);
    });
  }

  ModelPlan plan_;
  std::vector<std::vector<float>> values_;
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-streamed-" + std::to_string(::getpid()))).string();
};

TEST_P(StreamedCheckpoint, HoldsNoTensorBesideTheParameters) {
  const StreamedTensors stream =
      checkpoint_stream(plan_, naming_of(plan_), [&](int32_t param) { return values(param); });
  std::map<std::string, size_t> pieces;
  for (const FileTensor& tensor : checkpoint_tensors(plan_, naming_of(plan_)))
    pieces[tensor.name] = tensor.pieces.size();
  ASSERT_EQ(stream.specs.size(), pieces.size());
  size_t gathered = 0;
  for (const TensorSpec& tensor : stream.specs) {
    uint64_t given = 0;
    ASSERT_TRUE(stream
                    .data(tensor.name,
                          [&](std::span<const uint8_t> bytes) -> Status {
                            given += bytes.size();
                            const bool held = !bytes.empty() && !is_of_a_parameter(bytes);
                            EXPECT_EQ(held, pieces.at(tensor.name) > 1 && !bytes.empty()) << tensor.name;
                            EXPECT_LE(held ? bytes.size() : 0, kValuesAtATime * sizeof(float));
                            gathered += held ? 1 : 0;
                            return {};
                          })
                    .ok());
    EXPECT_EQ(given, bytes_of(tensor).value()) << tensor.name;
  }
  EXPECT_EQ(gathered > 0, GetParam() != "llama");
}

TEST_P(StreamedCheckpoint, IsWrittenAsFromMemory) {
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(plan_.spec));
  content.generation_config = nlohmann::ordered_json{{"eos_token_id", 3}};
  content.files.emplace_back("tokenizer.json", "{}");
  const StreamedTensors stream =
      checkpoint_stream(plan_, naming_of(plan_), [&](int32_t param) { return values(param); });
  ASSERT_TRUE(write_model_files(folder_ + "/streamed", content, stream).ok());
  std::vector<std::vector<uint8_t>> storage;
  content.tensors = checkpoint_views(
      plan_, naming_of(plan_), DType::kF32, [&](int32_t param) { return values(param); }, storage);
  ASSERT_TRUE(write_model_files(folder_ + "/whole", content).ok());
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors"}) {
    EXPECT_TRUE(*read_file(folder_ + "/streamed/" + name) == *read_file(folder_ + "/whole/" + name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, StreamedCheckpoint,
                         ::testing::Values("llama", "sambay", "phi4flash"));

}  // namespace
}  // namespace fathom
