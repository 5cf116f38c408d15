// Training runs as a user starts them: a small run end to end, resumed, refused, stopped.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;

struct Output {
  int code = -1;
  std::string text;  // of both streams
};

Output run(const std::string& command) {
  Output output;
  FILE* pipe = popen(("cd '" FATHOM_SOURCE_DIR "' && " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, pipe)) output.text.append(buffer, got);
  const int status = pclose(pipe);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return output;
}

const std::string kFathom = FATHOM_BIN_DIR "/fathom";

class TrainRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("fathom-train-run-" + std::to_string(getpid()) + "-" + GetParam());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream text(folder_ / "text.txt");
    for (int i = 0; i < 400; ++i) text << "the cat sat on mat " << i % 7 << " and looked at the moon. ";
    // The tiny model with a vocabulary of bytes.
    std::ifstream tiny(std::string(FATHOM_SOURCE_DIR "/configs/models/tiny/") + GetParam() + ".toml");
    std::string spec(std::istreambuf_iterator<char>(tiny), {});
    const size_t vocab = spec.find("vocab_size = 97");
    ASSERT_NE(vocab, std::string::npos);
    std::ofstream(folder_ / "model.toml") << spec.replace(vocab, 15, "vocab_size = 257");
    recipe_ = (folder_ / "recipe.toml").string();
    std::ofstream(recipe_)
        << "name = \"tiny\"\nmodel = \"model.toml\"\n[data]\ntrain = \"" << (folder_ / "text.txt").string()
        << "\"\nvalid = \"" << (folder_ / "text.txt").string()
        << "\"\nsequence_length = 32\n[schedule]\nkind = \"wsd\"\nlearning_rate = 5e-3\n"
        << "warmup_steps = 2\ntotal_steps = 12\n[train]\nsteps = 12\nrows = 4\neval_rows = 8\n"
        << "save_every = 4\nkeep = 2\n";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string train(const std::string& out, const std::string& more = "") const {
    return kFathom + " train " + recipe_ + " --quiet --out " + (folder_ / out).string() + " " + more;
  }
  std::vector<nlohmann::json> steps(const std::string& out) const {
    std::vector<nlohmann::json> found;
    std::ifstream file(folder_ / out / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      nlohmann::json entry = nlohmann::json::parse(line);
      entry.erase("seconds");
      if (entry["kind"] == "step") found.push_back(entry);
    }
    return found;
  }

  fs::path folder_;
  std::string recipe_;
};

TEST_P(TrainRun, LearnsAndLeavesADirectoryThatGenerates) {
  const Output trained = run(train("run"));
  ASSERT_EQ(trained.code, 0) << trained.text;
  const std::vector<nlohmann::json> log = steps("run");
  ASSERT_EQ(log.size(), 12U);
  EXPECT_EQ(log.front()["learning_rate"], 0.0);
  EXPECT_LT(log.back()["loss"].get<double>(), log.front()["loss"].get<double>());
  EXPECT_TRUE(fs::exists(folder_ / "run/config.toml") && fs::exists(folder_ / "run/run.json"));
  // The last two checkpoints are kept.
  EXPECT_FALSE(fs::exists(folder_ / "run/checkpoint-4"));
  EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint-8/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint-12/trainer.json"));

  const std::string generate = kFathom + " generate " + (folder_ / "run").string() +
                               " --prompt 'the cat' --max-tokens 20 --seed 3 --ignore-eos --json";
  const Output first = run(generate), chunked = run(generate + " --chunk 2 --threads 1");
  ASSERT_EQ(first.code, 0) << first.text;
  const nlohmann::json json = nlohmann::json::parse(first.text);
  EXPECT_EQ(json["tokens"].size(), 20U);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(nlohmann::json::parse(chunked.text)["tokens"], json["tokens"]);
}

TEST_P(TrainRun, AResumedRunLogsTheSameNumbers) {
  ASSERT_EQ(run(train("whole")).code, 0);
  ASSERT_EQ(run(train("cut", "--train.steps=8")).code, 0);
  const Output resumed = run(train("cut", "--resume"));
  ASSERT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(steps("cut"), steps("whole"));
}

TEST_P(TrainRun, RunsAreComparedByTheirNamesThoughALogIsTorn) {
  ASSERT_EQ(run(train("run", "--name=other --train.steps=4")).code, 0);
  std::ofstream(folder_ / "run/metrics.jsonl", std::ios::app) << R"({"kind":"step","st)";
  const Output output = run(kFathom + " compare " + (folder_ / "run").string());
  EXPECT_EQ(output.code, 0) << output.text;
  EXPECT_NE(output.text.find("other"), std::string::npos) << output.text;
  std::ofstream(folder_ / "run/metrics.jsonl", std::ios::app) << "\n";
  EXPECT_NE(run(kFathom + " compare " + (folder_ / "run").string()).text.find("is not JSON"),
            std::string::npos);
}

TEST_P(TrainRun, ADirectoryWithARunIsNotOverwritten) {
  ASSERT_EQ(run(train("run", "--train.steps=4 --schedule.total_steps=4")).code, 0);
  const Output again = run(train("run"));
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.text.find("holds a run already (checkpoint-4); continue it with --resume"),
            std::string::npos)
      << again.text;
}

TEST_P(TrainRun, ALossThatIsNoNumberStopsTheRunAndKeepsTheLastCheckpoint) {
  const Output output =
      run(train("run", "--schedule.learning_rate=1e30 --optimizer.clip=0 --train.save_every=1"));
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.text.find("the last good checkpoint is"), std::string::npos) << output.text;
}

TEST_P(TrainRun, WrongKeysAndFlagsAreNamed) {
  EXPECT_NE(run(train("run", "--train.stepz=4")).text.find("unknown key train.stepz"), std::string::npos);
  EXPECT_NE(run(train("run", "--train.rows=0")).text.find("train.rows is 0, expected at least 1"),
            std::string::npos);
  EXPECT_NE(run(train("run", "--data.order=random")).text.find("expected one of shuffle, sequential, affine"),
            std::string::npos);
  EXPECT_NE(run(train("run", "--nane=other")).text.find("unknown key nane"), std::string::npos);
  EXPECT_EQ(run(train("run", "--fast")).code, 2);
  EXPECT_FALSE(fs::exists(folder_ / "run/config.toml"));
}

INSTANTIATE_TEST_SUITE_P(Families, TrainRun, ::testing::Values("llama", "mor-middle_cycle-nr3", "sambay"),
                         [](const auto& family) {
                           std::string name = family.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
