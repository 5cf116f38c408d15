#include "cli/metrics_reader.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/file.h"

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
