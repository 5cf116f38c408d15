// TOML from outside, bounded in size and in nesting before the library sees it. Strict: UTF-8 without a byte
// order mark, no key twice. Errors say the place: "line 3: ...".
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

struct TomlLimits {
  static constexpr uint64_t kBytes = uint64_t{1} << 20;
  static constexpr int kBrackets = 32;  // open at once
  static constexpr int kKeyParts = 16;  // of one dotted key
};

Result<toml::table> parse_toml(std::string_view text);

// Text that parses back to the same values, which the library's own choice of quotes does not: a string loses
// the line break that it begins with.
std::string write_toml(const toml::table& table);

}  // namespace fathom
