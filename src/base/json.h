// JSON from outside, parsed strictly: UTF-8 without a byte order mark, one value, no duplicate keys, no bytes
// after it, bounded in size, depth and number of values. Errors say the place: "line 3, column 17: ...".
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom {

struct JsonLimits {
  uint64_t max_bytes = uint64_t{64} << 20;
  int max_depth = 64;  // nested objects and arrays
  uint64_t max_values = 10'000'000;
};

// Objects and arrays of hundreds of thousands of members that are to become something else than JSON: their
// members go to `take` as they are read, and an empty object or array stays where they were. Keys that are
// given twice are for `take` to find.
struct JsonMembers {
  std::vector<std::string> path;  // keys from the root to the object or array
  // `key` is empty in arrays. Both may be moved from.
  std::function<void(std::string& key, nlohmann::json& value)> take;
};

// White space (space, tab, CR, LF) around the value is accepted, as the grammar allows.
Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits = {},
                                  const std::vector<JsonMembers>& members = {});

// As parse_json, the path in front of the error.
Result<nlohmann::json> read_json_file(const std::string& path, const JsonLimits& limits = {});

// "an object", "a string", ...: the word error sentences use for what was found.
std::string kind_of(const nlohmann::json& value);

}  // namespace fathom
