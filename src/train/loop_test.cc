// What a run holds between its steps, and what it leaves.
#include "train/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "plan/spec_io.h"

namespace fathom::train {
namespace {

namespace fs = std::filesystem;

const std::string kLlama =
    "architecture = \"llama\"\nvocab_size = 257\nhidden_size = 32\nintermediate_size = 64\n"
    "num_hidden_layers = 2\nnum_attention_heads = 4\nnum_key_value_heads = 2\nmax_position_embeddings = 64\n";
const std::string kRouted =
    "architecture = \"llama\"\nvocab_size = 257\nhidden_size = 32\nintermediate_size = 64\n"
    "num_hidden_layers = 5\nnum_attention_heads = 4\nnum_key_value_heads = 2\nmax_position_embeddings = 64\n"
    "sharing = \"middle_cycle\"\nnum_recursion = 3\n[model.router]\nkind = \"expert\"\n";

class Loop : public ::testing::Test {
 protected:
  Loop() : folder_(fs::temp_directory_path() / ("fathom-loop-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
    std::ofstream text(folder_ / "text.txt");
    for (int i = 0; i < 40; ++i) text << "the cat sat on mat " << i % 7 << " and looked at the moon. ";
  }
  ~Loop() override { fs::remove_all(folder_); }

  // A run of four steps of the model into `out`. `data` and `train` are more keys of these tables.
  Status train(const std::string& model, const std::string& out, const std::string& data,
               const std::string& train, TrainObserver* watch = nullptr,
               const std::atomic<bool>* stop = nullptr, bool resume = false) {
    std::ofstream(folder_ / "recipe.toml")
        << "name = \"loop\"\n[model]\n"
        << model << "[data]\ntrain = \"" << (folder_ / "text.txt").string() << "\"\nsequence_length = 16\n"
        << data << "[schedule]\nkind = \"wsd\"\nlearning_rate = 5e-3\nwarmup_steps = 1\n"
        << "decay_steps = 1\n[train]\nsteps = 4\nrows = 3\nkeep = 9\nthreads = 1\neval_rows = 8\n"
        << train;
    FATHOM_ASSIGN(const RunConfig config, read_run_config((folder_ / "recipe.toml").string(), {}));
    std::vector<TrainObserver*> observers;
    if (watch != nullptr) observers.push_back(watch);
    return run_training({.config = config,
                         .directory = (folder_ / out).string(),
                         .resume = resume,
                         .observers = observers,
                         .stop = stop});
  }
  std::string valid() const { return "valid = \"" + (folder_ / "text.txt").string() + "\"\n"; }

  // Bytes of the files of a checkpoint.
  std::map<std::string, std::string> files(const std::string& out, int step) const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_ / out / ("checkpoint-" + std::to_string(step)))) {
      std::ostringstream bytes;
      bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      found[entry.path().filename().string()] = bytes.str();
    }
    return found;
  }
  std::vector<double> thresholds(const std::string& out, int step) const {
    const Result<ModelSpec> spec =
        load_spec((folder_ / out / ("checkpoint-" + std::to_string(step)) / "config.json").string());
    return spec.ok() && spec->router ? spec->router->threshold : std::vector<double>();
  }

  fs::path folder_;
};

// Parameters are shown behind the evaluation and the checkpoint of a step, which have the gradients' memory.
class Watch final : public TrainObserver {
 public:
  void on_start(const RunSummary& summary) override { calibration_rows = summary.calibration_rows; }
  void on_step(const StepReport& report) override {
    if (report.step + 1 == stop_after) stop = true;
  }
  void on_evaluation(const EvaluationReport& report) override { depths.push_back(report.mean_depth); }
  void on_sample(int64_t /*step*/, const ModelPlan& plan, const Parameters& parameters) override {
    ++samples;
    for (size_t p = 0; p < plan.params.size(); ++p)
      gradients += parameters.gradient(static_cast<int32_t>(p)).empty() ? 0 : 1;
    for (const Segment& segment : plan.segments)
      if (segment.router) thresholds.push_back(segment.router->spec.threshold);
  }
  int samples = 0, gradients = 0, stop_after = 0;
  int64_t calibration_rows = -1;
  std::atomic<bool> stop = false;
  std::vector<double> depths;
  std::vector<std::vector<double>> thresholds;
};

TEST_F(Loop, GradientsAreGoneWhenAStepIsDone) {
  Watch watch;
  const Status trained = train(kLlama, "run", "", "save_every = 1\nsample_every = 2\n", &watch);
  ASSERT_TRUE(trained.ok()) << trained.error().message;
  EXPECT_EQ(watch.samples, 2);
  EXPECT_EQ(watch.gradients, 0);
  EXPECT_EQ(watch.calibration_rows, 0);
}

// Held-out rows or not, at the end or before: whoever reads a checkpoint has thresholds of its parameters.
TEST_F(Loop, EveryCheckpointHasThresholdsOfItsOwn) {
  for (const std::string& data : {std::string(), valid()}) {
    const std::string out = data.empty() ? "without" : "with";
    Watch watch;
    const Status trained = train(kRouted, out, data, "save_every = 2\n", &watch);
    ASSERT_TRUE(trained.ok()) << trained.error().message;
    EXPECT_EQ(watch.calibration_rows, 8);
    for (int step : {2, 4}) {
      const std::vector<double> found = thresholds(out, step);
      ASSERT_EQ(found.size(), 3U) << out << step;
      EXPECT_TRUE(found[0] == 0 && found[1] != 0 && found[2] != 0) << out << step;
    }
    EXPECT_NE(thresholds(out, 2), thresholds(out, 4));
  }
  EXPECT_NE(thresholds("without", 4), thresholds("with", 4));  // by other rows
}

TEST_F(Loop, CalibrationIsNoPartOfTraining) {
  Watch watch;
  ASSERT_TRUE(train(kRouted, "often", "", "save_every = 1\nsample_every = 1\n", &watch).ok());
  ASSERT_TRUE(train(kRouted, "once", "", "").ok());
  const auto often = files("often", 4), once = files("once", 4);
  for (const char* name : {"model.safetensors", "trainer.safetensors", "config.json"}) {
    EXPECT_FALSE(once.at(name).empty());
    EXPECT_EQ(often.at(name), once.at(name)) << name;
  }
  // Texts are written by the thresholds of their step.
  ASSERT_EQ(watch.thresholds.size(), 4U);
  for (int step : {1, 2, 3, 4})
    EXPECT_EQ(watch.thresholds[static_cast<size_t>(step - 1)], thresholds("often", step));
}

TEST_F(Loop, ARunThatWasStoppedLeavesTheSameCheckpoints) {
  ASSERT_TRUE(train(kRouted, "whole", "", "save_every = 1\n").ok());
  Watch watch;
  watch.stop_after = 3;
  EXPECT_FALSE(train(kRouted, "cut", "", "save_every = 2\n", &watch, &watch.stop).ok());
  ASSERT_TRUE(train(kRouted, "cut", "", "save_every = 2\n", nullptr, nullptr, /*resume=*/true).ok());
  for (int step : {2, 3, 4}) {
    EXPECT_EQ(files("cut", step).at("config.json"), files("whole", step).at("config.json")) << step;
    EXPECT_EQ(files("cut", step).at("trainer.safetensors"), files("whole", step).at("trainer.safetensors"));
  }
}

// Each evaluation routes causally at the capacities 1, 2/3 and 1/3, not only the last.
TEST_F(Loop, EveryEvaluationIsCalibrated) {
  Watch watch;
  const Status trained = train(kRouted, "run", valid(), "eval_every = 1\n", &watch);
  ASSERT_TRUE(trained.ok()) << trained.error().message;
  ASSERT_EQ(watch.depths.size(), 4U);
  // Equal texts have equal logits, which no threshold parts.
  for (double depth : watch.depths) EXPECT_NEAR(depth, 2, 0.15);
}

}  // namespace
}  // namespace fathom::train
