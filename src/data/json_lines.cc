#include "data/json_lines.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"

namespace fathom {

namespace {

// The text of one line; errors say what is wrong with it, without the place.
Result<std::string> text_of(std::string_view line, const std::string& field) {
  JsonLimits limits;
  limits.max_bytes = uint64_t{1} << 30;
  FATHOM_ASSIGN(nlohmann::json object, parse_json(line, limits));
  if (!object.is_object()) return invalid("is " + kind_of(object) + ", expected an object");
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

}  // namespace

bool is_json_lines(const std::string& path) { return path.ends_with(".jsonl"); }

Status for_each_json_line(const std::string& path, const std::string& field,
                          const std::function<Status(std::string_view)>& visit) {
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t length = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Result<std::string> text = text_of(line, field);
    if (!text.ok()) return Error{path + ", " + with_line(number, text.error().message), text.error().kind};
    FATHOM_TRY(visit(*text));
  }
  return {};
}

}  // namespace fathom
