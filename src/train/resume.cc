#include "train/resume.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/toml.h"
#include "plan/spec_io.h"

namespace fathom::train {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Memory of a killed process of many gigabytes is not given back at once, and its locks go last.
constexpr double kLockPatience = 3;  // seconds

// What may differ between the lives of one run. The data is compared by its contents, the model by its own
// file, threads are asked for and warned about.
constexpr std::array<std::string_view, 16> kFreeKeys = {"name",
                                                        "init",
                                                        "model",
                                                        "data.train",
                                                        "data.mixture",
                                                        "data.valid",
                                                        "train.steps",
                                                        "train.threads",
                                                        "train.log_every",
                                                        "train.eval_every",
                                                        "train.eval_rows",
                                                        "train.save_every",
                                                        "train.keep",
                                                        "train.sample_every",
                                                        "train.sample_prompt",
                                                        "train.sample_tokens"};

bool is_free(const std::string& key) {
  return std::ranges::any_of(kFreeKeys, [&](std::string_view free) {
    return key == free || key.starts_with(std::string(free) + ".");
  });
}

// Leaves of an object by their dotted names.
json leaves(const json& object) {
  json named = json::object();
  const json flat = object.flatten();  // items() only refers to it
  for (const auto& [pointer, value] : flat.items()) {
    std::string key = pointer.substr(pointer.starts_with('/') ? 1 : 0);
    std::ranges::replace(key, '/', '.');
    named[key] = value;
  }
  return named;
}

struct Difference {
  std::string key, own, saved;
};

std::optional<Difference> first_difference(const json& own, const json& saved) {
  const json ours = leaves(own), theirs = leaves(saved);
  std::vector<std::string> keys;
  for (const json& object : {ours, theirs}) {
    for (const auto& [key, value] : object.items()) {
      if (!is_free(key)) keys.push_back(key);
    }
  }
  const auto shown = [](const json& object, const std::string& key) {
    return object.contains(key) ? object[key].dump() : std::string("not given");
  };
  for (const std::string& key : keys) {
    if (ours.contains(key) && theirs.contains(key) && ours[key] == theirs[key]) continue;
    return Difference{key, shown(ours, key), shown(theirs, key)};
  }
  return std::nullopt;
}

// The thresholds are measured for each checkpoint and no part of what is trained.
json without_thresholds(json model) {
  if (model.contains("router") && model["router"].is_object()) model["router"].erase("threshold");
  return model;
}

// "<anything>.tmp-<pid>" and "<anything>.tmp-<pid>-<n>".
bool is_temporary(const std::string& name) {
  const std::string mark = ".tmp-";
  const size_t at = name.rfind(mark);
  if (at == std::string::npos || at == 0 || at + mark.size() == name.size()) return false;
  return std::all_of(name.begin() + static_cast<int64_t>(at + mark.size()), name.end(),
                     [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
}

}  // namespace

json recipe_of(const RunConfig& config) {
  std::ostringstream text;
  text << toml::json_formatter(toml::parse(to_toml(config)));
  return json::parse(text.str());
}

Result<DirectoryLock> lock_run(const std::string& directory) {
  Result<DirectoryLock> lock = DirectoryLock::acquire(directory, kLockPatience);
  if (!lock.ok() && lock.error().kind == ErrorKind::kInvalid) {
    return invalid(directory +
                   ": another training runs in this directory; wait for its end or choose another --out");
  }
  return lock;
}

Status remove_leftovers(const std::string& directory) {
  std::vector<std::string> found;
  for (const std::string& folder : {directory, directory + "/data"}) {
    std::error_code code;
    for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
      if (is_temporary(entry->path().filename().string())) found.push_back(entry->path().string());
    }
    if (code && code != std::errc::no_such_file_or_directory) {
      return io_error(folder + ": cannot list: " + code.message());
    }
  }
  std::ranges::sort(found);
  for (const std::string& path : found) FATHOM_TRY(remove_tree(path));
  return {};
}

Result<std::optional<Resumption>> find_resumption(const std::string& directory) {
  const std::vector<int64_t> steps = list_checkpoints(directory);
  if (steps.empty()) return std::optional<Resumption>();
  Resumption found;
  found.path = directory + "/" + checkpoint_name(steps.back());
  FATHOM_ASSIGN(found.state, read_trainer_state(found.path));
  if (found.state.step != steps.back()) {
    return invalid(found.path + "/trainer.json: step is " + std::to_string(found.state.step) +
                   ", the directory's name says " + std::to_string(steps.back()));
  }
  return std::optional<Resumption>(std::move(found));
}

Status check_belongs(const Resumption& resumption, const RunConfig& config, const ModelPlan& plan,
                     bool allow_changes) {
  FATHOM_ASSIGN(const json saved, read_json_file(resumption.path + "/config.json"));
  const json own = json::parse(write_config_json(plan.spec));
  if (const auto difference = first_difference(without_thresholds(own), without_thresholds(saved))) {
    return invalid("cannot go on from " + resumption.path + ": the model's " + difference->key + " is " +
                   difference->own + ", the checkpoint's is " + difference->saved);
  }
  if (allow_changes) return {};
  if (const auto difference = first_difference(recipe_of(config), resumption.state.recipe)) {
    return invalid("cannot go on from " + resumption.path + ": " + difference->key + " is " +
                   difference->own + ", the checkpoint's run had " + difference->saved +
                   "; --allow-changes goes on all the same");
  }
  return {};
}

}  // namespace fathom::train
