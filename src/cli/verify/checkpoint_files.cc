#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/verify/model_case.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

constexpr char kExecutor[] = "files";

// All parameters one after another.
Result<std::vector<float>> values_of(const ModelCase& c, const WeightFiles& files) {
  std::vector<std::vector<float>> parameters;
  for (const Param& param : c.plan.params) parameters.emplace_back(static_cast<size_t>(elements_of(param)));
  FATHOM_TRY(read_parameters(c.plan, c.scheme, files, [&](int32_t param) -> std::span<float> {
    return parameters[static_cast<size_t>(param)];
  }));
  std::vector<float> all;
  for (const std::vector<float>& values : parameters) all.insert(all.end(), values.begin(), values.end());
  return all;
}

double storages_in(const WeightFiles& files) {
  std::set<const uint8_t*> places;
  for (const StoredTensor& stored : files.tensors()) places.insert(stored.bytes().data());
  return static_cast<double>(places.size());
}

// Recorded ties that the file has under both names with different bytes: stored twice they are still ties.
double broken_ties(const ModelCase& c, const WeightFiles& files) {
  double broken = 0;
  for (const auto& [alias, name] : c.record["aliases"].items()) {
    const StoredTensor* tensor = files.find(name.get<std::string>());
    const StoredTensor* other = files.find(alias);
    if (tensor != nullptr && other != nullptr && !std::ranges::equal(tensor->bytes(), other->bytes()))
      ++broken;
  }
  return broken;
}

Status verify_file(const ModelCase& c, const std::string& name, const nlohmann::json& recorded,
                   Report& report) {
  FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(c.path + "/" + name));
  const auto count = [&](const char* what, double got) {
    if (recorded.contains(what))
      report.compare(kExecutor, name + ": " + what, Kind::kSelections, got, recorded[what].get<double>());
  };
  count("names", static_cast<double>(files.tensors().size()));
  count("storages", storages_in(files));
  if (const auto missing = recorded.find("missing"); missing != recorded.end() && missing->is_array()) {
    const auto there = std::ranges::count_if(*missing, [&](const nlohmann::json& tensor) {
      return tensor.is_string() && files.find(tensor.get<std::string>()) != nullptr;
    });
    report.compare(kExecutor, name + ": names recorded as missing that are there", Kind::kSelections,
                   static_cast<double>(there), 0.0);
  }
  report.compare(kExecutor, name + ": broken ties", Kind::kSelections, broken_ties(c, files), 0.0);
  FATHOM_ASSIGN(const std::vector<float> got, values_of(c, files));
  const std::string own = c.path + "/weights.safetensors";
  if (!std::filesystem::exists(own)) return {};
  FATHOM_ASSIGN(const WeightFiles weights, WeightFiles::open(own));
  FATHOM_ASSIGN(const std::vector<float> expected, values_of(c, weights));
  report.compare(kExecutor, name + ": values", Kind::kSelections, got, expected);
  return {};
}

}  // namespace

Status verify_checkpoint_files(const ModelCase& c, Report& report) {
  if (!c.record.contains("files")) return {};
  for (const auto& [name, key] : {std::pair{"pytorch_model.bin", "pytorch_model_bin"},
                                  std::pair{"model.safetensors", "model_safetensors"}}) {
    if (!std::filesystem::exists(c.path + "/" + name)) continue;
    FATHOM_TRY(verify_file(c, name, c.record["files"].value(key, nlohmann::json::object()), report));
  }
  return {};
}

}  // namespace fathom::cli::verify
