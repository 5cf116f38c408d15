// Any text as a recipe; after a line "%%" come overrides, one a line. What is accepted is written as TOML
// that reads back to the same run.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/toml.h"
#include "train/run_config.h"

namespace {

constexpr std::string_view kOverrides = "\n%%\n";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The model is written as a file's name; here it is a table in the place of the file.
std::string with_model(const std::string& resolved, const toml::table& model) {
  auto table = fathom::parse_toml(resolved);
  if (!table.ok()) std::abort();
  table->insert_or_assign("model", model);
  return fathom::write_toml(*table);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find(kOverrides);
  const std::string text = input.substr(0, cut);
  std::vector<std::string> overrides;
  if (cut != std::string::npos) overrides = lines_of(input.substr(cut + kOverrides.size()));

  const auto config = fathom::train::parse_run_config(text, overrides, "nowhere");
  if (!config.ok()) {
    if (config.error().message.empty()) std::abort();
    return 0;
  }
  const auto root = fathom::parse_toml(text);
  const toml::table* model = root.ok() ? root->get_as<toml::table>("model") : nullptr;
  if (model == nullptr || !overrides.empty()) return 0;
  const std::string written = fathom::train::to_toml(*config);
  const auto again = fathom::train::parse_run_config(with_model(written, *model), {}, "nowhere");
  if (!again.ok() || fathom::train::to_toml(*again) != written || !(again->model == config->model))
    std::abort();
  return 0;
}
