#include "cli/model_specs.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "plan/spec_io.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

// configs/models beside the executable's tree: <root>/build/<preset>/bin/fathom, or <prefix>/bin/fathom with
// <prefix>/share/fathom. FATHOM_CONFIGS names another place.
fs::path spec_folder() {
  if (const char* named = std::getenv("FATHOM_CONFIGS")) return fs::path(named) / "models";
  std::error_code ignored;
  fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (int up = 0; up < 5 && !folder.empty(); ++up, folder = folder.parent_path()) {
    for (const fs::path& models : {folder / "configs/models", folder / "share/fathom/configs/models"}) {
      if (fs::is_directory(models, ignored)) return models;
    }
    if (folder == folder.root_path()) break;
  }
  return {};
}

}  // namespace

std::vector<std::string> built_in_spec_names() {
  std::vector<std::string> names;
  const fs::path folder = spec_folder();
  if (folder.empty()) return names;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".toml") continue;
    names.push_back(fs::relative(entry.path(), folder, ignored).replace_extension().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<ModelSpec> find_spec(const std::string& path_or_name) {
  std::error_code ignored;
  if (fs::exists(path_or_name, ignored)) return load_spec(path_or_name);
  std::string known, folder;
  for (const std::string& name : built_in_spec_names()) {
    if (name == path_or_name) return load_spec((spec_folder() / (name + ".toml")).string());
    const size_t slash = name.find('/');
    const std::string shown = slash == std::string::npos ? name : name.substr(0, slash + 1) + "...";
    if (slash != std::string::npos && std::exchange(folder, shown) == shown) continue;
    known += (known.empty() ? "" : ", ") + shown;
  }
  return not_found(path_or_name + ": no such file or directory, and no built-in model of that name" +
                   (known.empty() ? std::string() : " (built in: " + known + ")"));
}

}  // namespace fathom::cli
