#include "data/json_lines.h"

#include <algorithm>

namespace fathom {

namespace {

Result<nlohmann::json> object_of(std::string_view line, const JsonLimits& limits) {
  FATHOM_ASSIGN(nlohmann::json object, parse_json(line, limits));
  if (!object.is_object()) return invalid("is " + kind_of(object) + ", expected an object");
  return object;
}

// The text of one line; errors say what is wrong with it, without the place.
Result<std::string> text_of(std::string_view line, const std::string& field) {
  FATHOM_ASSIGN(nlohmann::json object, object_of(line, {.max_bytes = uint64_t{1} << 30}));
  const auto found = object.find(field);
  if (found == object.end()) {
    std::string names;
    for (const auto& [name, value] : object.items()) names += (names.empty() ? "" : ", ") + name;
    return invalid("no field \"" + field + "\"" + (names.empty() ? "" : ", only " + names));
  }
  if (!found->is_string()) return invalid("\"" + field + "\" is " + kind_of(*found) + ", expected a string");
  return std::move(found->get_ref<std::string&>());
}

// What is wrong in a line, and where: the parser knows the column and takes every line for the first.
std::string with_line(int64_t number, const std::string& message) {
  const std::string_view first = "line 1, ";
  const std::string line = "line " + std::to_string(number);
  return message.starts_with(first) ? line + ", " + message.substr(first.size()) : line + ": " + message;
}

// Puts the next line that is not blank into `line`; false when there is none. `at` is where the content goes
// on, `number` that of the last line.
bool next_line(std::string_view content, size_t& at, int64_t& number, std::string_view& line) {
  while (at < content.size()) {
    const size_t end = std::min(content.find('\n', at), content.size());
    line = content.substr(at, end - at);
    at = std::min(end + 1, content.size());
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

bool is_json_lines(const std::string& path) { return path.ends_with(".jsonl"); }

Result<JsonLineReader> JsonLineReader::open(const std::string& path, std::string field) {
  FATHOM_ASSIGN(MappedFile file, MappedFile::open(path));
  return JsonLineReader(std::move(file), path, std::move(field));
}

Result<bool> JsonLineReader::next(std::string& text) {
  const std::string_view content(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size());
  std::string_view line;
  if (!next_line(content, read_, number_, line)) return false;
  Result<std::string> found = text_of(line, field_);
  if (!found.ok()) return Error{path_ + ", " + with_line(number_, found.error().message), found.error().kind};
  text = std::move(found).value();
  return true;
}

Status for_each_json_object(std::string_view content, const JsonLimits& limits,
                            const std::function<Status(const nlohmann::json&)>& visit) {
  size_t at = 0;
  int64_t number = 0;
  for (std::string_view line; next_line(content, at, number, line);) {
    const Result<nlohmann::json> object = object_of(line, limits);
    const Status seen = object.ok() ? visit(*object) : Status(object.error());
    if (!seen.ok()) return Error{with_line(number, seen.error().message), seen.error().kind};
  }
  return {};
}

}  // namespace fathom
