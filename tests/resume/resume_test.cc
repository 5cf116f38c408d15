// What a run that is resumed restores, refuses and clears away.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/directory_lock.h"
#include "forked_run.h"
#include "run_directory.h"
#include "tiny_recipe.h"

namespace fathom::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json read_json(const fs::path& path) { return json::parse(std::ifstream(path)); }

class Resume : public ::testing::Test {
 protected:
  Resume()
      : folder_(fs::temp_directory_path() / ("fathom-resume-" + std::to_string(::getpid()))),
        recipe_(folder_, "mor", "f32"),
        out_(folder_ / "run") {}
  ~Resume() override { fs::remove_all(folder_); }

  ForkedRun train(const std::vector<std::string>& more = {}) const {
    return run_forked(recipe_.arguments(out_, more));
  }
  // Four of the seven steps.
  void train_half(std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--train.steps=4", "--schedule.total_steps=7"});
    const ForkedRun half = train(more);
    ASSERT_EQ(half.exit_code, 0) << half.text;
  }
  void expect_refused(const std::string& what, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = more;
    words.emplace_back("--resume");
    const ForkedRun refused = train(words);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.text.find(what), std::string::npos) << refused.text;
    EXPECT_EQ(std::count(refused.text.begin(), refused.text.end(), '\n'), 1) << refused.text;
  }
  fs::path checkpoint() const { return out_ / "checkpoint-4"; }
  void edit_state(const std::string& key, const json& value) const {
    json state = read_json(checkpoint() / "trainer.json");
    if (value.is_null()) {
      state.erase(key);
    } else {
      state[key] = value;
    }
    std::ofstream(checkpoint() / "trainer.json") << state;
  }

  fs::path folder_;
  TinyRecipe recipe_;
  fs::path out_;
};

TEST_F(Resume, OtherDataIsRefused) {
  train_half();
  std::ofstream(folder_ / "other.txt") << std::ifstream(recipe_.text()).rdbuf() << "And then it slept.";
  const std::string other = (folder_ / "other.txt").string();
  expect_refused("cannot resume: the saved validation data is", {"--data.valid=" + other});
  expect_refused("cannot resume: the saved data is", {"--data.train=" + other});
  std::ofstream(recipe_.text(), std::ios::app) << "One sentence more.";
  expect_refused("cannot resume: the saved data is");
}

TEST_F(Resume, DataThatMovedIsTheSameData) {
  train_half();
  fs::rename(recipe_.text(), folder_ / "moved.txt");
  const std::string moved = (folder_ / "moved.txt").string();
  const ForkedRun resumed = train({"--resume", "--data.train=" + moved, "--data.valid=" + moved});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.text;
}

TEST_F(Resume, AnotherModelIsRefusedByTheFieldThatDiffers) {
  train_half();
  std::ifstream file(folder_ / "model.toml");
  std::string spec(std::istreambuf_iterator<char>(file), {});
  const size_t at = spec.find("alpha = 0.1");
  ASSERT_NE(at, std::string::npos);
  std::ofstream(folder_ / "model.toml") << spec.replace(at, 11, "alpha = 0.2");
  expect_refused("the model's router.alpha is 0.2, the checkpoint's is 0.1");
  expect_refused("the model's router.alpha is 0.2, the checkpoint's is 0.1", {"--allow-changes"});
}

TEST_F(Resume, AnotherRecipeIsRefusedByTheKeyUnlessAllowed) {
  train_half();
  expect_refused("optimizer.beta2 is 0.9, the checkpoint's run had 0.95; --allow-changes goes on",
                 {"--optimizer.beta2=0.9"});
  expect_refused("train.rows is 3, the checkpoint's run had 2", {"--train.rows=3"});
  expect_refused("train.precision is \"bf16\", the checkpoint's run had \"f32\"", {"--train.precision=bf16"});
  EXPECT_EQ(train({"--allow-changes"}).exit_code, 2);  // means nothing without --resume
  const ForkedRun allowed = train({"--resume", "--allow-changes", "--optimizer.beta2=0.9"});
  EXPECT_EQ(allowed.exit_code, 0) << allowed.text;
  EXPECT_TRUE(fs::exists(out_ / "checkpoint-7"));
}

TEST_F(Resume, WhatDoesNotTouchTheNumbersMayDiffer) {
  train_half();
  const ForkedRun resumed =
      train({"--resume", "--train.keep=5", "--train.save_every=1", "--train.log_every=2"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.text;
  for (int step = 5; step <= 7; ++step)
    EXPECT_TRUE(fs::exists(out_ / ("checkpoint-" + std::to_string(step))));
}

TEST_F(Resume, AStateThatIsIncompleteOrOfAnotherFormatIsRefusedByTheField) {
  train_half();
  const json good = read_json(checkpoint() / "trainer.json");
  edit_state("format_version", 1);
  expect_refused("trainer.json: format_version is 1, this program reads 2");
  for (const auto& [key, value] : good.items()) {
    std::ofstream(checkpoint() / "trainer.json") << good;
    edit_state(key, nullptr);
    expect_refused("trainer.json: " + key + " is missing");
    edit_state(key, -1.5);
    expect_refused("trainer.json: " + key + " is ");
  }
  std::ofstream(checkpoint() / "trainer.json") << good;
  edit_state("step", 3);
  expect_refused("trainer.json: step is 3, the directory's name says 4");
  std::ofstream(checkpoint() / "trainer.json") << good;
  EXPECT_EQ(train({"--resume"}).exit_code, 0);
}

TEST_F(Resume, ADamagedCheckpointIsNamed) {
  train_half();
  for (const char* name : {"model.safetensors", "trainer.safetensors", "config.json"}) {
    const fs::path path = checkpoint() / name;
    fs::copy(path, folder_ / "good");
    fs::resize_file(path, fs::file_size(path) / 2);
    expect_refused(path.string() + ": ");
    fs::remove(path);
    expect_refused(checkpoint().string());
    fs::rename(folder_ / "good", path);
  }
  EXPECT_EQ(train({"--resume"}).exit_code, 0);
}

TEST_F(Resume, TheThreadCountIsRestoredAndAnotherIsWarnedAbout) {
  train_half({"--train.threads=1"});
  EXPECT_EQ(read_json(checkpoint() / "trainer.json")["threads"], 1);
  const ForkedRun same =
      train({"--resume", "--train.threads=0", "--train.steps=5", "--schedule.total_steps=7"});
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_EQ(same.text, "");
  EXPECT_EQ(read_json(out_ / "checkpoint-5/trainer.json")["threads"], 1);
  const ForkedRun more = train({"--resume", "--train.threads=2"});
  EXPECT_EQ(more.exit_code, 0) << more.text;
  EXPECT_NE(
      more.text.find("checkpoint-5 was made with train.threads 1, this run has 2; its numbers may differ"),
      std::string::npos)
      << more.text;
  EXPECT_EQ(read_json(out_ / "checkpoint-7/trainer.json")["threads"], 2);
}

TEST_F(Resume, TwoTrainingsInOneDirectoryAreRefused) {
  fs::create_directories(out_);
  {
    const Result<DirectoryLock> held = DirectoryLock::acquire(out_.string());
    ASSERT_TRUE(held.ok());
    for (const char* flag : {"--train.steps=7", "--resume"}) {
      const ForkedRun second = train({flag});
      EXPECT_EQ(second.exit_code, 1);
      EXPECT_EQ(second.text,
                "fathom-train: " + out_.string() +
                    ": another training runs in this directory; wait for its end or choose another "
                    "--out\n");
    }
    EXPECT_TRUE(fs::is_empty(out_));
  }
  EXPECT_EQ(train().exit_code, 0);
}

TEST_F(Resume, LeftoversAreRemovedAndNothingElse) {
  train_half();
  for (const char* name :
       {"checkpoint-6.tmp-12-0/model.safetensors.tmp-12", "checkpoint-2.tmp-12-1/x", "config.toml.tmp-12",
        "data/train.tokens.tmp-7", "notes.tmp-old/x", "notes/x.tmp-1", "tmp-1", ".tmp-1"}) {
    fs::create_directories((out_ / name).parent_path());
    std::ofstream(out_ / name) << "x";
  }
  ASSERT_EQ(train({"--resume"}).exit_code, 0);
  for (const char* gone :
       {"checkpoint-6.tmp-12-0", "checkpoint-2.tmp-12-1", "config.toml.tmp-12", "data/train.tokens.tmp-7"}) {
    EXPECT_FALSE(fs::exists(out_ / gone)) << gone;
  }
  for (const char* kept : {"notes.tmp-old/x", "notes/x.tmp-1", "tmp-1", ".tmp-1"}) {
    EXPECT_TRUE(fs::exists(out_ / kept)) << kept;
  }
}

TEST_F(Resume, ACompleteRunStaysAsItIs) {
  ASSERT_EQ(train().exit_code, 0);
  fs::copy(out_, folder_ / "before", fs::copy_options::recursive);
  const ForkedRun again = train({"--resume"});
  EXPECT_EQ(again.exit_code, 0);
  const auto difference = difference_of_runs(out_, folder_ / "before");
  EXPECT_FALSE(difference) << *difference;
}

TEST_F(Resume, LogsThatLostLinesOrGainedSomeAreCutToTheCheckpoint) {
  ASSERT_EQ(train().exit_code, 0);
  fs::rename(out_, folder_ / "whole");
  train_half();
  std::ofstream(out_ / "metrics.jsonl", std::ios::app)
      << "{\"kind\":\"step\",\"step\":4,\"loss\":1}\n{\"kind\":\"st";
  std::ofstream(out_ / "metrics.csv", std::ios::app) << "5,1,1\n6,";
  ASSERT_EQ(train({"--resume"}).exit_code, 0);
  // The first life evaluated at its end, the fourth step.
  std::ifstream log(out_ / "metrics.jsonl"), whole(folder_ / "whole/metrics.jsonl");
  std::vector<json> found, expected;
  for (std::string line; std::getline(log, line);) found.push_back(json::parse(line));
  for (std::string line; std::getline(whole, line);) expected.push_back(json::parse(line));
  std::erase_if(found, [](const json& entry) { return entry["kind"] == "evaluation" && entry["step"] == 4; });
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    found[i].erase("seconds");
    expected[i].erase("seconds");
    EXPECT_EQ(found[i].dump(), expected[i].dump());
  }
}

}  // namespace
}  // namespace fathom::testing
