#include "text/special_tokens.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"

namespace fathom::text {

namespace {

using Json = nlohmann::json;

constexpr JsonLimits kConfigLimits = {
    .max_bytes = uint64_t{16} << 20, .max_depth = 32, .max_values = 1'000'000};

Result<std::optional<int32_t>> role(const Json& config, const char* key, const IdOfToken& id_of) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::optional<int32_t>();
  const Json* token = &*found;
  if (token->is_object() && token->contains("content")) token = &token->at("content");
  if (!token->is_string()) return invalid(std::string(key) + " is " + token->dump() + ", expected a token");
  const auto id = id_of(token->get_ref<const std::string&>());
  if (!id) return invalid(std::string(key) + " is " + token->dump() + ", which tokenizer.json does not have");
  return id;
}

}  // namespace

Status add_special_ids(std::string_view config, const IdOfToken& id_of, SpecialIds& ids) {
  FATHOM_ASSIGN(const Json json, parse_json(config, kConfigLimits));
  if (!json.is_object()) return invalid("is " + kind_of(json) + ", expected an object");
  for (const auto& [key, slot] : {std::pair{"bos_token", &ids.bos}, std::pair{"eos_token", &ids.eos},
                                  std::pair{"pad_token", &ids.pad}, std::pair{"unk_token", &ids.unk}}) {
    if (*slot) continue;
    FATHOM_ASSIGN(*slot, role(json, key, id_of));
  }
  return {};
}

Result<SpecialIds> read_special_ids(const std::string& folder, const IdOfToken& id_of) {
  SpecialIds ids;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;
    FATHOM_ASSIGN(const std::string config, read_file(path, kConfigLimits.max_bytes));
    if (Status status = add_special_ids(config, id_of, ids); !status.ok())
      return at(path, std::move(status).error());
  }
  return ids;
}

}  // namespace fathom::text
