// A file that repeats tied weights, leaves them out or unties them gives the model that it holds, whatever
// the configuration says of the ties that configurations get wrong; other broken ties are refused
// (tests/faults has them).
#include "weights/stored_ties.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/random.h"
#include "io/safetensors_writer.h"
#include "plan/testing.h"
#include "weights/checkpoint.h"
#include "weights/model_source.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>>;

class StoredTies : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-ties-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Every name of the model's checkpoint, tied ones as copies.
  static Tensors copies_of(const ModelSpec& spec) {
    const ModelPlan plan = *build_plan(spec);
    Tensors tensors;
    uint64_t stream = 0;
    for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape) elements *= extent;
      std::vector<float> values(static_cast<size_t>(elements));
      for (size_t i = 0; i < values.size(); ++i) values[i] = normal(5, stream, i);
      ++stream;
      tensors[tensor.name] = {tensor.shape, values};
      for (const std::string& alias : tensor.aliases) tensors[alias] = {tensor.shape, values};
    }
    return tensors;
  }

  Result<ModelSource> open(const ModelSpec& spec, const Tensors& tensors) const {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors)
      views.push_back(view_of(name, DType::kF32, tensor.first, tensor.second));
    EXPECT_TRUE(write_weight_files(folder_, views).ok());
    return open_model_source(spec, folder_);
  }
  // What reading the tensors as the model says; "read" if nothing.
  std::string answer(const ModelSpec& spec, const Tensors& tensors) const {
    const Result<ModelSource> source = open(spec, tensors);
    if (!source.ok()) return source.error().message;
    const auto weights = load_weights(source->plan, source->scheme, source->files, DType::kF32);
    return weights.ok() ? "read" : weights.error().message.substr(folder_.size() + 2);
  }

  std::string folder_;
};

ModelSpec expert() { return testing_plan::tiny_mor(Sharing::kMiddleCycle, 2); }

ModelSpec recursive() {
  ModelSpec spec = expert();
  spec.router.reset();
  return spec;
}

constexpr char kAttention[] = "model.layers.2.block.0.self_attn.k_proj.weight";

TEST_F(StoredTies, CopiesThatAreEqualAreOneParameter) {
  const Tensors tensors = copies_of(expert());
  const Result<ModelSource> source = open(expert(), tensors);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ(source->plan.spec, build_plan(expert())->spec);
  EXPECT_EQ(answer(expert(), tensors), "read");
}

TEST_F(StoredTies, NamesThatAreMissingAreFilledByTheSharingRule) {
  Tensors tensors = copies_of(expert());
  const ModelPlan plan = *build_plan(expert());
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    for (const std::string& alias : tensor.aliases) tensors.erase(alias);
  }
  EXPECT_EQ(answer(expert(), tensors), "read");
  // A file may as well have the other name alone.
  tensors = copies_of(expert());
  tensors.erase("model.embed_tokens.weight");
  tensors.erase("model.layers.1.block.0.mlp.up_proj.weight");
  EXPECT_EQ(answer(expert(), tensors), "read");
}

TEST_F(StoredTies, AHeadOfItsOwnIsFoundWhateverTheConfigurationSays) {
  for (ModelSpec spec : {expert(), recursive()}) {
    Tensors tensors = copies_of(spec);
    spec.tie_word_embeddings = false;  // and yet the copies are equal
    EXPECT_TRUE(open(spec, tensors)->plan.spec.tie_word_embeddings);
    spec.tie_word_embeddings = true;
    tensors["lm_head.weight"].second[7] += 1;
    EXPECT_FALSE(open(spec, tensors)->plan.spec.tie_word_embeddings);
    EXPECT_EQ(answer(spec, tensors), "read");
  }
}

TEST_F(StoredTies, AttentionOfItsOwnInEachRecursionIsFound) {
  Tensors tensors = copies_of(expert());
  tensors[kAttention].second[3] += 1;
  const Result<ModelSource> source = open(expert(), tensors);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_FALSE(source->plan.spec.share_attention);
  EXPECT_EQ(answer(expert(), tensors), "read");
  // Tied again, the untied word of a configuration does not count.
  ModelSpec spec = expert();
  spec.share_attention = false;
  EXPECT_TRUE(open(spec, copies_of(expert()))->plan.spec.share_attention);
}

TEST_F(StoredTies, PlainRecursionNeverUntiesItsAttention) {
  Tensors tensors = copies_of(recursive());
  tensors["model.layers.4.self_attn.k_proj.weight"].second[0] += 1;
  EXPECT_EQ(
      answer(recursive(), tensors),
      "tensors model.layers.1.self_attn.k_proj.weight and model.layers.4.self_attn.k_proj.weight are one "
      "parameter in this model but hold different values");
}

}  // namespace
}  // namespace fathom
