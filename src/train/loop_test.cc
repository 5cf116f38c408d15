// What a run holds between its steps.
#include "train/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fathom::train {
namespace {

namespace fs = std::filesystem;

// Parameters are shown behind the evaluation and the checkpoint of a step, which have the gradients' memory.
class Watch final : public TrainObserver {
 public:
  void on_sample(int64_t /*step*/, const ModelPlan& plan, const Parameters& parameters) override {
    ++samples;
    for (size_t p = 0; p < plan.params.size(); ++p)
      gradients += parameters.gradient(static_cast<int32_t>(p)).empty() ? 0 : 1;
  }
  int samples = 0, gradients = 0;
};

TEST(Loop, GradientsAreGoneWhenAStepIsDone) {
  const fs::path folder = fs::temp_directory_path() / ("fathom-loop-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream text(folder / "text.txt");
  for (int i = 0; i < 40; ++i) text << "the cat sat on mat " << i % 7 << " and looked at the moon. ";
  text.close();
  std::ofstream(folder / "recipe.toml")
      << "name = \"loop\"\n[model]\narchitecture = \"llama\"\nvocab_size = 257\nhidden_size = 32\n"
      << "intermediate_size = 64\nnum_hidden_layers = 2\nnum_attention_heads = 4\nnum_key_value_heads = 2\n"
      << "max_position_embeddings = 64\n[data]\ntrain = \"" << (folder / "text.txt").string()
      << "\"\nsequence_length = 16\n[schedule]\nkind = \"wsd\"\nlearning_rate = 5e-3\nwarmup_steps = 1\n"
      << "decay_steps = 1\n[train]\nsteps = 2\nrows = 2\nsave_every = 1\nsample_every = 1\nthreads = 1\n";
  const Result<RunConfig> config = read_run_config((folder / "recipe.toml").string(), {});
  ASSERT_TRUE(config.ok()) << config.error().message;
  Watch watch;
  const Status trained =
      run_training({.config = *config, .directory = (folder / "run").string(), .observers = {&watch}});
  fs::remove_all(folder);
  ASSERT_TRUE(trained.ok()) << trained.error().message;
  EXPECT_EQ(watch.samples, 2);
  EXPECT_EQ(watch.gradients, 0);
}

}  // namespace
}  // namespace fathom::train
