// Recursion depths of a text, as `fathom generate --json` prints them, read back to be replayed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::cli {

// Passes of each token in order: `prompt_depths` and the `depth` of each of `tokens` in an object, or the
// numbers of a list. Errors name the file and the entry: not JSON, no depths, one outside [least, most].
Result<std::vector<uint8_t>> read_depths(const std::string& path, int least, int most);

// The same of JSON in memory, which errors call `name`.
Result<std::vector<uint8_t>> parse_depths(std::string_view text, const std::string& name, int least,
                                          int most);

}  // namespace fathom::cli
