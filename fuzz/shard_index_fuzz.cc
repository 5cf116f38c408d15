// Any bytes as the index of shards. The names that are accepted cannot lead out of their directory.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "io/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index = fathom::parse_shard_index({reinterpret_cast<const char*>(data), size});
  if (!index.ok()) {
    if (index.error().message.empty()) std::abort();
    return 0;
  }
  if (index->empty()) std::abort();
  for (const auto& [tensor, shard] : *index) {
    if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos) std::abort();
  }
  return 0;
}
