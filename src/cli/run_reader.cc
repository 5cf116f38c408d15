#include "cli/run_reader.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace fathom::cli {

namespace {

using nlohmann::json;

Status use_line(std::string_view line, FunctionRef<Status(const MetricsEntry&)> use) {
  const json values = json::parse(line, nullptr, false);
  if (values.is_discarded()) return invalid("is not JSON");
  if (!values.is_object() || !values.contains("kind") || !values["kind"].is_string() ||
      !values.contains("step") || !values["step"].is_number())
    return invalid("is not an object with kind and step");
  return use({values["kind"].get<std::string>(), values["step"].get<double>(), values});
}

}  // namespace

Result<std::string> run_name(const std::string& directory) {
  FATHOM_ASSIGN(const json run, read_json_file(directory + "/run.json"));
  const bool named = run.is_object() && run.contains("name") && run["name"].is_string();
  return named ? run["name"].get<std::string>() : std::string();
}

Status read_metrics(const std::string& directory, FunctionRef<Status(const MetricsEntry&)> use) {
  const std::string path = directory + "/metrics.jsonl";
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  for (int64_t line = 1;; ++line) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return {};
    if (const Status status = use_line(rest.substr(0, end), use); !status.ok())
      return invalid(path + ", line " + std::to_string(line) + ": " + status.error().message);
    rest.remove_prefix(end + 1);
  }
}

}  // namespace fathom::cli
