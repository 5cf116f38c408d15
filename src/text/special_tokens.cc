#include "text/special_tokens.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/json.h"

namespace fathom::text {

namespace {

using Json = nlohmann::json;
using IdOf = std::function<std::optional<int32_t>(std::string_view)>;

constexpr JsonLimits kConfigLimits = {
    .max_bytes = uint64_t{16} << 20, .max_depth = 32, .max_values = 1'000'000};

// The file as JSON; null if there is none.
Result<Json> read_optional(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return Json();
  FATHOM_ASSIGN(Json json, read_json_file(path, kConfigLimits));
  if (!json.is_object()) return invalid(path + ": is " + kind_of(json) + ", expected an object");
  return json;
}

Result<std::optional<int32_t>> role(const Json& config, const char* key, const IdOf& id_of) {
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

Result<SpecialIds> read_special_ids(const std::string& folder, const IdOf& id_of) {
  SpecialIds ids;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    FATHOM_ASSIGN(const Json config, read_optional(path));
    if (config.is_null()) continue;
    for (const auto& [key, slot] : {std::pair{"bos_token", &ids.bos}, std::pair{"eos_token", &ids.eos},
                                    std::pair{"pad_token", &ids.pad}, std::pair{"unk_token", &ids.unk}}) {
      if (*slot) continue;
      auto id = role(config, key, id_of);
      if (!id.ok()) return at(path, std::move(id).error());
      *slot = *id;
    }
  }
  return ids;
}

}  // namespace fathom::text
