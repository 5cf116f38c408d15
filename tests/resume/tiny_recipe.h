// Runs of some steps that go through everything a checkpoint must hold: warm-up and decay, accumulation, a
// router whose capacity or balance warms up, a router with an optimizer of its own, a bias without gradient,
// random scores and capacities, a mixture of texts, evaluations, checkpoints that are pruned.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fathom::testing {

struct TinyRecipe {
  static constexpr int64_t kSteps = 7, kSaveEvery = 2;

  // `family`: one of all_families(); `precision`: f32 or bf16. Writes text, model and recipe into `folder`.
  TinyRecipe(const std::filesystem::path& folder, const std::string& family, const std::string& precision);

  // Arguments of `fathom-train run` that train into `out`.
  std::vector<std::string> arguments(const std::filesystem::path& out,
                                     const std::vector<std::string>& more = {}) const;
  std::filesystem::path text() const { return folder_ / "text.txt"; }
  std::filesystem::path file() const { return folder_ / "recipe.toml"; }

 private:
  std::filesystem::path folder_;
};

// One of each kind of model.
const std::vector<std::string>& families();
// And those whose routers have state of their own.
std::vector<std::string> all_families();

}  // namespace fathom::testing
