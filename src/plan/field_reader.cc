#include "plan/field_reader.h"

#include <utility>

#include "base/json.h"
#include "base/sentence.h"

namespace fathom {

namespace {

const nlohmann::json kNull = nullptr;

// A value in a message, never longer than a line: a long list or object is only called that.
std::string shown(const nlohmann::json& value) {
  constexpr size_t kLongest = 60;
  if (value.is_string()) return in_quotes(value.get_ref<const std::string&>(), kLongest);
  const std::string text = value.dump();
  return text.size() <= kLongest ? text : fathom::kind_of(value);
}

}  // namespace

FieldReader::FieldReader(const nlohmann::json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {}

const nlohmann::json& FieldReader::raw(const std::string& key) {
  seen_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? kNull : *found;
}

Error FieldReader::wrong_type(const std::string& key, const char* expected) const {
  const auto found = object_.find(key);
  if (found == object_.end()) return invalid(prefix_ + key + ": absent, expected " + expected);
  return invalid(prefix_ + key + ": found " + shown(*found) + ", expected " + expected);
}

Status FieldReader::integer(const std::string& key, int64_t& value, Presence presence) {
  const nlohmann::json& found = raw(key);
  if (!has(key) && presence == Presence::kOptional) return {};
  if (!found.is_number_integer() ||
      (found.is_number_unsigned() && found.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))) {
    return wrong_type(key, "an integer");
  }
  value = found.get<int64_t>();
  return {};
}

Status FieldReader::number(const std::string& key, double& value, Presence presence) {
  const nlohmann::json& found = raw(key);
  if (!has(key) && presence == Presence::kOptional) return {};
  if (!found.is_number()) return wrong_type(key, "a number");
  value = found.get<double>();
  return {};
}

Status FieldReader::boolean(const std::string& key, bool& value, Presence presence) {
  const nlohmann::json& found = raw(key);
  if (!has(key) && presence == Presence::kOptional) return {};
  if (!found.is_boolean()) return wrong_type(key, "true or false");
  value = found.get<bool>();
  return {};
}

Status FieldReader::string(const std::string& key, std::string& value, Presence presence) {
  const nlohmann::json& found = raw(key);
  if (!has(key) && presence == Presence::kOptional) return {};
  if (!found.is_string()) return wrong_type(key, "a string");
  value = found.get<std::string>();
  return {};
}

Status FieldReader::numbers(const std::string& key, std::vector<double>& value) {
  const nlohmann::json& found = raw(key);
  if (!has(key)) return {};
  if (!found.is_array()) return wrong_type(key, "a list of numbers");
  value.clear();
  for (const nlohmann::json& entry : found) {
    if (!entry.is_number()) return wrong_type(key, "a list of numbers");
    value.push_back(entry.get<double>());
  }
  return {};
}

Result<std::vector<std::string>> FieldReader::strings(const std::string& key) {
  const nlohmann::json& found = raw(key);
  if (!found.is_array()) return wrong_type(key, "a list of strings");
  std::vector<std::string> list;
  for (const nlohmann::json& entry : found) {
    if (!entry.is_string()) return wrong_type(key, "a list of strings");
    list.push_back(entry.get<std::string>());
  }
  return list;
}

void FieldReader::ignore(std::initializer_list<const char*> keys) { seen_.insert(keys.begin(), keys.end()); }

Status FieldReader::only(const std::string& key, const nlohmann::json& supported) {
  const nlohmann::json& found = raw(key);
  if (!has(key) || found == supported) return {};
  return not_supported("not supported yet: " + prefix_ + key + " = " + shown(found));
}

Status FieldReader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (seen_.count(key) == 0) return invalid("unknown key " + prefix_ + key);
  }
  return {};
}

}  // namespace fathom
