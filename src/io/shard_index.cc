#include "io/shard_index.h"

#include "base/file.h"
#include "base/json.h"
#include "base/sentence.h"

namespace fathom {

namespace {

constexpr JsonLimits kIndexLimits;

// A name that cannot lead out of the directory.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\") == std::string::npos;
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view text) {
  FATHOM_ASSIGN(const nlohmann::json index, parse_json(text, kIndexLimits));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return invalid("no object \"weight_map\"");
  }
  ShardIndex promised;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) {
      return invalid("the shard of tensor " + in_quotes(tensor) + " is " + kind_of(shard) +
                     ", expected a string");
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!is_plain_name(name)) {
      return invalid("tensor " + in_quotes(tensor) + " is in shard " + in_quotes(name) +
                     ", expected a plain file name");
    }
    promised.emplace(tensor, name);
  }
  if (promised.empty()) return invalid("\"weight_map\" names no tensor");
  return promised;
}

Result<ShardIndex> read_shard_index(const std::string& path) {
  FATHOM_ASSIGN(const std::string text, read_file(path, kIndexLimits.max_bytes));
  Result<ShardIndex> index = parse_shard_index(text);
  if (!index.ok()) return at(path, std::move(index).error());
  return index;
}

}  // namespace fathom
