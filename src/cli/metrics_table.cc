#include "cli/metrics_table.h"

#include <algorithm>
#include <charconv>

namespace fathom::cli {

namespace {

constexpr std::string_view kStep = "step";

std::optional<RunLog::Record> next_line(std::string_view rest) {
  const size_t end = rest.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  RunLog::Record record{end + 1, 0};
  if (rest.starts_with(kStep)) return record;
  const auto [after, code] = std::from_chars(rest.data(), rest.data() + end, record.steps_done);
  if (code != std::errc() || (after != rest.data() + end && *after != ',')) return std::nullopt;
  return record;
}

// The shortest text that reads back as the same double.
std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  for (size_t begin = 0;;) {
    const size_t comma = std::min(line.find(',', begin), line.size());
    words.emplace_back(line.substr(begin, comma - begin));
    if (comma == line.size()) return words;
    begin = comma + 1;
  }
}

}  // namespace

std::string column_of(const std::string& tag) { return tag.substr(tag.rfind('/') + 1); }

Result<MetricsTable> MetricsTable::open(const std::string& path, int64_t steps_done,
                                        const std::vector<std::string>& columns) {
  FATHOM_ASSIGN(RunLog log, RunLog::open(path, steps_done, next_line));
  std::string head(kStep);
  for (const std::string& column : columns) head += "," + column;
  if (log.empty()) {
    FATHOM_TRY(log.append(head + "\n"));
  } else {
    FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    head = text.substr(0, text.find('\n'));
  }
  std::vector<std::string> found = split(head);
  found.erase(found.begin());  // the step, which every line begins with
  return MetricsTable(std::move(log), std::move(found));
}

Status MetricsTable::append(int64_t steps_done, const std::vector<EventScalar>& scalars) {
  std::string line = std::to_string(steps_done);
  for (const std::string& column : columns_) {
    const auto found = std::ranges::find_if(
        scalars, [&](const EventScalar& scalar) { return column_of(scalar.tag) == column; });
    line += ",";
    if (found != scalars.end()) line += text_of(found->value);
  }
  return log_.append(line + "\n");
}

}  // namespace fathom::cli
