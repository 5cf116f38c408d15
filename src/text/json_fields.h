// One object of a JSON file, read field by field: types are checked, and fields that nobody asked for are
// refused in the end.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace fathom::text {

using Json = nlohmann::json;

class JsonFields {
 public:
  // `where` is the path from the root, e.g. "model" or "pre_tokenizer.pretokenizers[1]". `value` must outlive
  // this.
  static Result<JsonFields> of(const Json& value, std::string where);

  // The field; null if absent or JSON null.
  const Json* find(const std::string& key);
  // A field that must be there.
  Result<const Json*> need(const std::string& key);

  Result<bool> boolean(const std::string& key, std::optional<bool> fallback);
  Result<std::string> text(const std::string& key, std::optional<std::string> fallback);
  Result<int64_t> integer(const std::string& key, std::optional<int64_t> fallback);

  // Error if the object has a field that was not asked for.
  Status finish() const;

  std::string path(const std::string& key) const { return where_.empty() ? key : where_ + "." + key; }
  const std::string& where() const { return where_; }

 private:
  JsonFields(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}
  Error wrong_kind(const std::string& key, const Json& found, const char* expected) const;

  const Json* value_;
  std::string where_;
  std::set<std::string> asked_;
};

}  // namespace fathom::text
