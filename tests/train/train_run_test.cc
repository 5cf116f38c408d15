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

// Ids 0 to 256, and no role for any of them.
std::string tokenizer_without_end(const fs::path& folder) {
  const std::string path = (folder / "tokenizer").string();
  const Output made = run(kFathom + " tokenize --train " + (folder / "text.txt").string() +
                          " --vocab-size 257 --special-token '<|none|>' --out " + path);
  EXPECT_EQ(made.code, 0) << made.text;
  fs::remove(path + "/tokenizer_config.json");
  return path;
}

TEST_P(TrainRun, ATextNeedsATokenToStartFrom) {
  const std::string tokenizer = "--data.tokenizer=" + tokenizer_without_end(folder_) + " --train.steps=1 ";
  const std::string sentence = "an empty prompt, and the model has no token to start from\n";
  for (const char* dry : {"", " --dry-run"}) {
    const Output refused = run(train("run", tokenizer + "--train.sample_every=1" + dry));
    EXPECT_EQ(refused.code, 1);
    EXPECT_EQ(refused.text, "fathom-train: train.sample_prompt: " + sentence);
    EXPECT_FALSE(fs::exists(folder_ / "run"));
  }
  const Output trained = run(train("run", tokenizer + "--train.sample_every=1 --train.sample_prompt=the"));
  ASSERT_EQ(trained.code, 0) << trained.text;
  EXPECT_NE(trained.text.find("after 1 steps: the"), std::string::npos) << trained.text;
  const std::string path = (folder_ / "run").string();
  const Output compared = run(kFathom + " compare " + path + " -p ''");
  EXPECT_EQ(compared.code, 1);
  EXPECT_EQ(compared.text, "fathom: " + path + ": " + sentence);
  // The table needs none, and a text says nothing of colours where there is no terminal.
  EXPECT_EQ(run(kFathom + " compare " + path + " -p '' -n 0").code, 0);
  const Output text = run(kFathom + " compare " + path + " -p the -t 1 -n 9223372036854775807");
  EXPECT_EQ(text.code, 0) << text.text;
  EXPECT_NE(text.text.find("--- tiny\nthe"), std::string::npos) << text.text;
  EXPECT_EQ(text.text.find("\x1b[38;5;"), std::string::npos) << text.text;
}

TEST_P(TrainRun, ACheckpointIsSavedBeforeATextIsWritten) {
  const Output output = run(kFathom + " train " + recipe_ + " -o " + (folder_ / "run").string() +
                            " --train.sample_every=4 --train.sample_prompt=the");
  ASSERT_EQ(output.code, 0) << output.text;
  for (const char* step : {"4", "8", "12"}) {
    const size_t saved = output.text.find(std::string("/checkpoint-") + step + "\n"),
                 written = output.text.find(std::string("after ") + step + " steps: the");
    ASSERT_NE(saved, std::string::npos) << output.text;
    ASSERT_NE(written, std::string::npos) << output.text;
    EXPECT_LT(saved, written) << step;
  }
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
  // What a flag says is not what a file says.
  EXPECT_EQ(run(train("run", "--train.stepz=4")).code, 2);
  EXPECT_EQ(run(train("run", "--train.rows=0")).code, 2);
  EXPECT_EQ(run(train("run", "--init=none --model=none.toml")).code, 1);
  EXPECT_EQ(run(kFathom + "-train bench " + (folder_ / "model.toml").string() + " --steps 1e1").code, 2);
  std::ofstream(recipe_, std::ios::app) << "stepz = 4\n";
  const Output file = run(train("run", "--train.rows=2"));
  EXPECT_EQ(file.code, 1);
  EXPECT_NE(file.text.find("unknown key train.stepz"), std::string::npos) << file.text;
  EXPECT_FALSE(fs::exists(folder_ / "run/config.toml"));
}

INSTANTIATE_TEST_SUITE_P(Families, TrainRun, ::testing::Values("llama", "mor-middle_cycle-nr3", "sambay"),
                         [](const auto& family) {
                           std::string name = family.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
