#include "tiny_recipe.h"

#include <fstream>
#include <map>

#include "base/check.h"

namespace fathom::testing {

namespace {

std::string model_of(const std::string& family) {
  static const std::map<std::string, std::string> kNames = {
      {"vanilla", "llama"}, {"mor", "mor-middle_cycle-nr3"}, {"mor-token", "mor-token-loss-free"}};
  const auto named = kNames.find(family);
  const std::string name = named == kNames.end() ? family : named->second;
  std::ifstream file(FATHOM_SOURCE_DIR "/configs/models/tiny/" + name + ".toml");
  std::string spec(std::istreambuf_iterator<char>(file), {});
  const std::string vocab = "vocab_size = 97";
  const size_t at = spec.find(vocab);
  FATHOM_CHECK(at != std::string::npos, "no tiny model " + family);
  spec.replace(at, vocab.size(), "vocab_size = 257");  // of bytes
  if (family == "mor" || family == "mor-aux-router") spec += "capacity_warmup_steps = 9\n";
  if (family == "mor-random") spec += "capacity_low = [1.0, 0.1]\n";
  if (family == "mor-token") spec += "balance_warmup_steps = 4\nbias_update = 0.05\n";
  return spec;
}

}  // namespace

const std::vector<std::string>& families() {
  static const std::vector<std::string> all = {"vanilla", "mor", "sambay"};
  return all;
}

std::vector<std::string> all_families() {
  std::vector<std::string> all = families();
  all.insert(all.end(),
             {"mor-aux-router", "mor-token", "mor-random", "mor-lora", "mor-sambay", "mor-sambay-token"});
  return all;
}

TinyRecipe::TinyRecipe(const std::filesystem::path& folder, const std::string& family,
                       const std::string& precision)
    : folder_(folder) {
  std::filesystem::create_directories(folder);
  std::ofstream text_file(text());
  for (int i = 0; i < 60; ++i) text_file << "the cat sat on mat " << i % 7 << " and looked at the moon. ";
  std::ofstream other(folder / "other.txt");
  for (int i = 0; i < 40; ++i) other << "an owl flew " << i % 5 << " times around the old house and slept. ";
  std::ofstream(folder / "model.toml") << model_of(family);
  // Two sources, which advance each at its own pace, or one.
  const std::string mixture = "[[data.mixture]]\npaths = \"" + text().string() +
                              "\"\nweight = 0.6\n[[data.mixture]]\npaths = \"" +
                              (folder / "other.txt").string() + "\"\nweight = 0.4\n";
  const std::string train = "train = \"" + text().string() + "\"\n";
  std::ofstream(file())
      << "name = \"" << family << "\"\nmodel = \"model.toml\"\n[data]\n"
      << (family == "sambay" ? "" : train) << "valid = \"" << text().string() << "\"\nsequence_length = 16\n"
      << (family == "sambay" ? mixture : "") << "[schedule]\nkind = \"wsd\"\nlearning_rate = 5e-3\n"
      << "warmup_steps = 2\ndecay_steps = 3\n[train]\nsteps = " << kSteps
      << "\nrows = 2\naccumulation = 2\neval_rows = 4\neval_every = 3\nkeep = 2\nthreads = 2\n"
      << "save_every = " << kSaveEvery << "\nprecision = \"" << precision << "\"\n";
}

std::vector<std::string> TinyRecipe::arguments(const std::filesystem::path& out,
                                               const std::vector<std::string>& more) const {
  std::vector<std::string> words = {file().string(), "--quiet", "--out", out.string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace fathom::testing
