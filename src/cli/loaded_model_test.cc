// In which type a model is read, and what is said where the memory for that is not there.
#include "cli/loaded_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "weights/fresh_weights.h"
#include "weights/model_source.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

class LoadedModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    spec_.vocab_size = 40'000;
    for (const DType type : {DType::kF32, DType::kBF16}) {
      fs::create_directories(path_of(type));
      SerialParallel serial;
      ASSERT_TRUE(write_fresh_weights(path_of(type), *build_plan(spec_), 5, type, serial).ok());
      ASSERT_TRUE(write_file_atomic(path_of(type) + "/config.json", write_config_json(spec_)).ok());
    }
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path_of(DType type) const { return folder_ + "/" + std::string(name_of(type)); }

  // Of the model stored as `type`, read as `wanted`, where a MiB is free.
  std::string refusal(DType type, DType wanted, bool has_flag) const {
    const ModelSource source = *open_model_source(spec_, path_of(type));
    const StoredWeights stored = *StoredWeights::open(source.plan, source.scheme, source.files);
    const MatrixChoice choice{.named = wanted, .has_flag = has_flag};
    EXPECT_TRUE(check_weight_memory("m", stored, wanted, choice, std::nullopt).ok());
    EXPECT_TRUE(check_weight_memory("m", stored, wanted, choice, stored.loading_bytes(wanted)).ok());
    const Status status = check_weight_memory("m", stored, wanted, choice, 1 << 20);
    return status.ok() ? "accepted" : status.error().message;
  }

  ModelSpec spec_ = testing_plan::tiny();
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-loaded-model-" + std::to_string(::getpid()))).string();
};

TEST_F(LoadedModelTest, ItsMatricesAreOfTheTypeChosenAndElseOfTheUsualOrTheStoredOne) {
  const struct {
    DType stored;
    MatrixChoice choice;
    DType expected;
  } cases[] = {
      {DType::kF32, {.named = {}}, DType::kF32},
      {DType::kBF16, {.named = {}}, DType::kF32},
      {DType::kF32, {.named = {}, .usual = DType::kBF16}, DType::kBF16},
      {DType::kF32, {.named = {}, .as_stored = true}, DType::kF32},
      {DType::kBF16, {.named = {}, .as_stored = true}, DType::kBF16},
      {DType::kBF16, {.named = DType::kF32, .as_stored = true}, DType::kF32},
      {DType::kBF16, {.named = DType::kI8, .as_stored = true}, DType::kI8},
  };
  ThreadPool pool(2);
  for (const auto& c : cases) {
    for (Parallel* parallel : {static_cast<Parallel*>(nullptr), static_cast<Parallel*>(&pool)}) {
      const auto model = load_weights_of(path_of(c.stored), c.choice, /*check_tensors=*/false, parallel);
      ASSERT_TRUE(model.ok()) << model.error().message;
      EXPECT_EQ(model->matrix_type, c.expected);
      EXPECT_EQ(model->weights->at(model->plan.head.first).type, c.expected);
    }
  }
}

// 40000 * 32 values of the embedding, which is the head, 8 * (3 * 32 * 64 + 3072) of the layers' matrices.
TEST_F(LoadedModelTest, WeightsWithoutRoomAreRefusedWithTheTypeThatNeedsTheLeast) {
  EXPECT_EQ(
      refusal(DType::kBF16, DType::kF32, true),
      "m: as f32 its weights need 5 MiB beside the mapped files, but 1 MiB are free; --dtype bf16 needs "
      "0 MiB");
  EXPECT_EQ(refusal(DType::kBF16, DType::kF32, false),
            "m: as f32 its weights need 5 MiB beside the mapped files, but 1 MiB are free");
  EXPECT_EQ(
      refusal(DType::kF32, DType::kBF16, true),
      "m: as bf16 its weights need 2 MiB beside the mapped files, but 1 MiB are free; --dtype f32 needs "
      "0 MiB");
  EXPECT_EQ(
      refusal(DType::kF32, DType::kI8, true),
      "m: as int8 its weights need 1 MiB beside the mapped files, but 1 MiB are free; --dtype f32 needs "
      "0 MiB");
  EXPECT_EQ(refusal(DType::kF32, DType::kF32, true), "accepted");
  EXPECT_EQ(refusal(DType::kBF16, DType::kBF16, true), "accepted");
}

TEST(ChatTemplateOf, PhiFlashWithoutATemplateHasThePublishedOne) {
  LoadedModel model;
  model.path = (fs::temp_directory_path() / "there-is-none").string();
  model.plan.spec.architecture = "sambay";
  const Result<text::ChatTemplate> none = chat_template_of(model, "");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().message,
            model.path + " has no chat template; --chat-template names one of phi, chatml");
  EXPECT_EQ(chat_template_of(model, "chatml")->name(), "chatml");
  model.plan.spec.architecture = "phi4flash";
  EXPECT_EQ(chat_template_of(model, "")->name(), "phi");
  EXPECT_EQ(chat_template_of(model, "chatml")->name(), "chatml");
}

}  // namespace
}  // namespace fathom::cli
