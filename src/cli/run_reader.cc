#include "cli/run_reader.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"

namespace fathom::cli {

namespace {

using nlohmann::json;

constexpr JsonLimits kLineLimits = {.max_bytes = uint64_t{1} << 20, .max_depth = 8, .max_values = 65'536};

// The step of a line, which may be counted on from.
Result<int64_t> step_of(const json& line) {
  if (!line.is_object() || !line.contains("kind") || !line.contains("step"))
    return invalid("is not an object with kind and step");
  if (!line["kind"].is_string()) return invalid("kind is " + kind_of(line["kind"]) + ", expected a string");
  const json& step = line["step"];
  if (!step.is_number_unsigned() || step.get<uint64_t>() >= uint64_t{INT64_MAX})
    return invalid("step is " + step.dump() + ", expected an integer from 0 to " +
                   std::to_string(INT64_MAX - 1));
  return step.get<int64_t>();
}

Status use_line(std::string_view line, FunctionRef<Status(const MetricsEntry&)> use) {
  const Result<json> values = parse_json(line, kLineLimits);
  if (!values.ok()) return invalid("is not JSON: " + values.error().message);
  FATHOM_ASSIGN(const int64_t step, step_of(*values));
  return use({(*values)["kind"].get<std::string>(), static_cast<double>(step), *values});
}

Error at_line(int64_t line, const Error& error) { return at("line " + std::to_string(line), error); }

}  // namespace

Result<std::string> run_name(const std::string& directory) {
  FATHOM_ASSIGN(const json run, read_json_file(directory + "/run.json"));
  const bool named = run.is_object() && run.contains("name") && run["name"].is_string();
  return named ? run["name"].get<std::string>() : std::string();
}

Status parse_metrics(std::string_view content, FunctionRef<Status(const MetricsEntry&)> use) {
  for (int64_t line = 1;; ++line) {
    const size_t end = content.find('\n');
    if (end == std::string_view::npos) return {};
    if (const Status status = use_line(content.substr(0, end), use); !status.ok())
      return at_line(line, status.error());
    content.remove_prefix(end + 1);
  }
}

Status read_metrics(const std::string& directory, FunctionRef<Status(const MetricsEntry&)> use) {
  const std::string path = directory + "/metrics.jsonl";
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
  const Status status =
      parse_metrics({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, use);
  return status.ok() ? status : invalid(path + ", " + status.error().message);
}

RunLog::NextRecord metrics_records() {
  return [line = int64_t{0}](std::string_view rest) mutable -> Result<std::optional<RunLog::Record>> {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return std::optional<RunLog::Record>();
    ++line;
    const Result<json> values = parse_json(rest.substr(0, end), kLineLimits);
    if (!values.ok()) return std::optional<RunLog::Record>();
    const Result<int64_t> step = step_of(*values);
    if (!step.ok()) return at_line(line, step.error());
    // A checkpoint's line is written after the checkpoint, and a killed run may not have come to it: it
    // counts as later, so that a run that goes on from the checkpoint drops it and writes it anew.
    const bool is_evaluation = (*values)["kind"] == "evaluation";
    const RunLog::Record record{end + 1, *step + (is_evaluation ? 0 : 1)};
    return std::optional<RunLog::Record>(record);
  };
}

}  // namespace fathom::cli
