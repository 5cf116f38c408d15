// The index beside the shards of a model's weights (model.safetensors.index.json): which shard holds which
// tensor.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

// tensor -> shard, as the index promises; not empty. Errors, without the path of the index: it is not JSON
// with an object "weight_map", or a shard is anything but the plain name of a file.
using ShardIndex = std::map<std::string, std::string>;
Result<ShardIndex> parse_shard_index(std::string_view text);

// The same of a file, its path in front of errors.
Result<ShardIndex> read_shard_index(const std::string& path);

}  // namespace fathom
