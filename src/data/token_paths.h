// Paths of token files, as recipes and flags name them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "data/token_file.h"

namespace fathom {

// Whether a path names token files: it ends with .tokens or .bin. Anything else is text.
bool is_token_path(const std::string& path);

// Name of file `number` of a packing: "<name>_0000000007.bin".
std::string packed_file_name(const std::string& name, int64_t number);

// Opens what a token path names: a shard, a packed or headerless file, or, for "<name>_*.bin", all files of a
// packing, from number 0 to the first that is not there, which are checked on all threads. Vocabulary and end
// of document are those of files that do not say them.
Result<std::vector<TokenFile>> open_token_files(const std::string& path, int64_t vocab_size,
                                                std::optional<int32_t> end_of_document, Parallel& threads);

}  // namespace fathom
