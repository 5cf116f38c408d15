// A folder with a text of bytes, a tiny model and a recipe, for tests that start training runs.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.h"

namespace fathom::testing {

class SmallRun {
 public:
  // `model` is a file of configs/models/tiny.
  explicit SmallRun(const std::string& name, const std::string& model = "llama")
      : folder_(std::filesystem::temp_directory_path() / (name + "-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    std::ofstream text(folder_ / "text.txt");
    for (int i = 0; i < 400; ++i) text << "the cat sat on mat " << i % 7 << " and looked at the moon. ";
    // The tiny model with a vocabulary of bytes.
    std::ifstream tiny(std::string(FATHOM_SOURCE_DIR "/configs/models/tiny/") + model + ".toml");
    std::string spec(std::istreambuf_iterator<char>(tiny), {});
    const size_t vocab = spec.find("vocab_size = 97");
    EXPECT_NE(vocab, std::string::npos);
    std::ofstream(folder_ / "model.toml") << spec.replace(vocab, 15, "vocab_size = 257");
    std::ofstream(recipe()) << "name = \"tiny\"\nmodel = \"model.toml\"\n[data]\ntrain = \""
                            << path("text.txt") << "\"\nvalid = \"" << path("text.txt")
                            << "\"\nsequence_length = 32\n[schedule]\nkind = \"wsd\"\nlearning_rate = 5e-3\n"
                            << "warmup_steps = 2\ntotal_steps = 12\n[train]\nsteps = 12\nrows = 4\n"
                            << "eval_rows = 8\nsave_every = 4\nkeep = 2\nthreads = 1\n";
  }
  ~SmallRun() { std::filesystem::remove_all(folder_); }
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string recipe() const { return path("recipe.toml"); }
  // The words that train into `out`.
  std::vector<std::string> command(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {FATHOM_BIN_DIR "/fathom", "train", recipe(), "--out", path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // Trains to the end, without a terminal.
  Output train(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::string line;
    for (const std::string& word : command(out, more)) line += "'" + word + "' ";
    return run(line);
  }
  // metrics.jsonl of a run.
  std::vector<nlohmann::json> metrics(const std::string& out) const {
    std::vector<nlohmann::json> found;
    std::ifstream file(folder_ / out / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace fathom::testing
