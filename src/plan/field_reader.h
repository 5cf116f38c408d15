// Reads one object of a configuration field by field, and refuses what nobody asked for.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/spec_words.h"

namespace fathom {

enum class Presence : uint8_t { kOptional, kRequired };

// Every getter leaves `value` alone if an optional key is absent. Messages: "hidden_size: found \"big\",
// expected an integer", "unknown key router.alfa".
class FieldReader {
 public:
  // `prefix` stands before key names in messages, e.g. "router.".
  explicit FieldReader(const nlohmann::json& object, std::string prefix = "");

  bool has(const std::string& key) const { return object_.contains(key); }
  // The value, marked as read; null if absent.
  const nlohmann::json& raw(const std::string& key);

  Status integer(const std::string& key, int64_t& value, Presence presence = Presence::kOptional);
  Status number(const std::string& key, double& value, Presence presence = Presence::kOptional);
  Status boolean(const std::string& key, bool& value, Presence presence = Presence::kOptional);
  Status string(const std::string& key, std::string& value, Presence presence = Presence::kOptional);
  Status numbers(const std::string& key, std::vector<double>& value);
  template <class Enum>
  Status word(const std::string& key, Enum& value) {
    std::string text;
    if (!has(key)) return {};
    FATHOM_TRY(string(key, text));
    if (auto known = parse_word(text, value))
      return invalid(prefix_ + key + ": found \"" + text + "\", expected one of " + *known);
    return {};
  }

  // A list of words.
  template <class Enum>
  Status words(const std::string& key, std::vector<Enum>& values) {
    if (!has(key)) return {};
    FATHOM_ASSIGN(const std::vector<std::string> list, strings(key));
    values.clear();
    for (const std::string& text : list) {
      values.emplace_back();
      if (auto known = parse_word(text, values.back()))
        return invalid(prefix_ + key + ": found \"" + text + "\", expected some of " + *known);
    }
    return {};
  }

  // Keys that say nothing about the model.
  void ignore(std::initializer_list<const char*> keys);
  // Only this value, or absence, is supported: "not supported yet: mlp_bias = true".
  Status only(const std::string& key, const nlohmann::json& supported);
  // After the last field: refuses keys that were neither read nor ignored.
  Status finish() const;

 private:
  Error wrong_type(const std::string& key, const char* expected) const;
  Result<std::vector<std::string>> strings(const std::string& key);

  const nlohmann::json& object_;
  std::string prefix_;
  std::set<std::string> seen_;
};

}  // namespace fathom
