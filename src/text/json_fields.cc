#include "text/json_fields.h"

namespace fathom::text {

Result<JsonFields> JsonFields::of(const Json& value, std::string where) {
  if (!value.is_object()) {
    return invalid((where.empty() ? "the file" : where) + " is " + kind_of(value) + ", expected an object");
  }
  return JsonFields(value, std::move(where));
}

const Json* JsonFields::find(const std::string& key) {
  asked_.insert(key);
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

Result<const Json*> JsonFields::need(const std::string& key) {
  const Json* found = find(key);
  if (found == nullptr) return invalid(path(key) + " is missing");
  return found;
}

Error JsonFields::wrong_kind(const std::string& key, const Json& found, const char* expected) const {
  return invalid(path(key) + " is " + kind_of(found) + ", expected " + expected);
}

Result<bool> JsonFields::boolean(const std::string& key, std::optional<bool> fallback) {
  if (find(key) == nullptr && fallback) return *fallback;
  FATHOM_ASSIGN(const Json* found, need(key));
  if (!found->is_boolean()) return wrong_kind(key, *found, "true or false");
  return found->get<bool>();
}

Result<std::string> JsonFields::text(const std::string& key, std::optional<std::string> fallback) {
  if (find(key) == nullptr && fallback) return *std::move(fallback);
  FATHOM_ASSIGN(const Json* found, need(key));
  if (!found->is_string()) return wrong_kind(key, *found, "a string");
  return found->get<std::string>();
}

Result<int64_t> JsonFields::integer(const std::string& key, std::optional<int64_t> fallback) {
  if (find(key) == nullptr && fallback) return *fallback;
  FATHOM_ASSIGN(const Json* found, need(key));
  if (!found->is_number_integer()) return wrong_kind(key, *found, "an integer");
  if (found->is_number_unsigned() && found->get<uint64_t>() > uint64_t{INT64_MAX}) {
    return invalid(path(key) + " is " + found->dump() + ", which exceeds 64 bits");
  }
  return found->get<int64_t>();
}

Status JsonFields::finish() const {
  for (const auto& [key, value] : value_->items()) {
    if (!asked_.contains(key)) return not_supported("field \"" + path(key) + "\" is not known");
  }
  return {};
}

}  // namespace fathom::text
