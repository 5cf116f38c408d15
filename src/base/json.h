// JSON from outside, parsed strictly: UTF-8 without a byte order mark, one value, no duplicate keys, no bytes
// after it, bounded in size, depth and number of values. Errors say the place: "line 3, column 17: ...".
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

struct JsonLimits {
  uint64_t max_bytes = uint64_t{64} << 20;
  int max_depth = 64;  // nested objects and arrays
  uint64_t max_values = 10'000'000;
};

// White space (space, tab, CR, LF) around the value is accepted, as the grammar allows.
Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits = {});

// As parse_json, the path in front of the error.
Result<nlohmann::json> read_json_file(const std::string& path, const JsonLimits& limits = {});

// "an object", "a string", ...: the word error sentences use for what was found.
std::string kind_of(const nlohmann::json& value);

}  // namespace fathom
