#include "data/json_lines.h"

#include <algorithm>

#include "base/file.h"

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

// Calls visit(line, number) for each line that is not blank, until one is an error.
template <class Visit>
Status for_each_line(std::string_view rest, const Visit& visit) {
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t length = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) FATHOM_TRY(visit(line, number));
  }
  return {};
}

}  // namespace

bool is_json_lines(const std::string& path) { return path.ends_with(".jsonl"); }

Status for_each_json_line(const std::string& path, const std::string& field,
                          const std::function<Status(std::string_view)>& visit) {
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
  const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  return for_each_line(content, [&](std::string_view line, int64_t number) -> Status {
    const Result<std::string> text = text_of(line, field);
    if (!text.ok()) return Error{path + ", " + with_line(number, text.error().message), text.error().kind};
    return visit(*text);
  });
}

Status for_each_json_object(std::string_view content, const JsonLimits& limits,
                            const std::function<Status(const nlohmann::json&)>& visit) {
  return for_each_line(content, [&](std::string_view line, int64_t number) -> Status {
    const Result<nlohmann::json> object = object_of(line, limits);
    const Status seen = object.ok() ? visit(*object) : Status(object.error());
    if (!seen.ok()) return Error{with_line(number, seen.error().message), seen.error().kind};
    return {};
  });
}

}  // namespace fathom
