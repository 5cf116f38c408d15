// JSON as a command prints it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace fathom::cli {

// On one line, or indented. What is not UTF-8, as a name of a file may be, becomes U+FFFD.
inline std::string json_text(const nlohmann::ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fathom::cli
