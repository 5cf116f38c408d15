#include "text/special_tokens.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"

namespace fathom::text {

namespace {

using Json = nlohmann::json;

constexpr JsonLimits kConfigLimits = {
    .max_bytes = uint64_t{16} << 20, .max_depth = 32, .max_values = 1'000'000};

Result<Json> read_object(std::string_view config) {
  FATHOM_ASSIGN(Json json, parse_json(config, kConfigLimits));
  if (!json.is_object()) return invalid("is " + kind_of(json) + ", expected an object");
  return json;
}

// The token that a role names; empty if none.
Result<std::string> token_named(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::string();
  const Json* token = &*found;
  if (token->is_object() && token->contains("content")) token = &token->at("content");
  if (!token->is_string()) return invalid(std::string(key) + " is " + token->dump() + ", expected a token");
  return token->get<std::string>();
}

// Calls visit(content) for those of the files that are there, until one is an error.
template <class Visit>
Status for_each_file(const std::string& folder, const std::array<const char*, 2>& names, const Visit& visit) {
  for (const char* name : names) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;
    FATHOM_ASSIGN(const std::string config, read_file(path, kConfigLimits.max_bytes));
    if (Status status = visit(config); !status.ok()) return at(path, std::move(status).error());
  }
  return {};
}

constexpr std::array kRoleFiles = {"tokenizer_config.json", "special_tokens_map.json"};
constexpr std::array kModelFiles = {"generation_config.json", "config.json"};

// The first id, of one or of a list. What is no id is said where the model is read (ModelDirectory).
std::optional<int32_t> first_id(const Json& ids) {
  for (const Json& id : ids.is_array() ? ids : Json::array({ids})) {
    if (id.is_number_unsigned() && id.get<uint64_t>() <= INT32_MAX) return id.get<int32_t>();
  }
  return std::nullopt;
}

}  // namespace

Status add_special_ids(std::string_view config, const IdOfToken& id_of, SpecialIds& ids) {
  FATHOM_ASSIGN(const Json json, read_object(config));
  struct Role {
    const char* key;
    std::optional<int32_t>* slot;
    bool required;  // texts begin and end with these, and nobody pads or looks for what is unknown
  };
  for (const Role& wanted : {Role{"bos_token", &ids.bos, true}, Role{"eos_token", &ids.eos, true},
                             Role{"pad_token", &ids.pad, false}, Role{"unk_token", &ids.unk, false}}) {
    if (*wanted.slot) continue;
    FATHOM_ASSIGN(const std::string token, token_named(json, wanted.key));
    if (token.empty()) continue;
    *wanted.slot = id_of(token);
    if (!*wanted.slot && wanted.required) {
      return invalid(std::string(wanted.key) + " is " + Json(token).dump() +
                     ", which tokenizer.json does not have");
    }
  }
  return {};
}

Result<SpecialIds> read_special_ids(const std::string& folder, const IdOfToken& id_of) {
  SpecialIds ids;
  FATHOM_TRY(for_each_file(folder, kRoleFiles,
                           [&](const std::string& config) { return add_special_ids(config, id_of, ids); }));
  return ids;
}

Result<std::optional<int32_t>> read_model_end(const std::string& folder) {
  std::optional<int32_t> end;
  FATHOM_TRY(for_each_file(folder, kModelFiles, [&](const std::string& config) -> Status {
    FATHOM_ASSIGN(const Json json, read_object(config));
    if (!end && json.contains("eos_token_id")) end = first_id(json["eos_token_id"]);
    return {};
  }));
  return end;
}

Result<std::string> read_first_token(const std::string& folder) {
  std::string token;
  FATHOM_TRY(for_each_file(folder, kRoleFiles, [&](const std::string& config) -> Status {
    FATHOM_ASSIGN(const Json json, read_object(config));
    if (token.empty()) {
      FATHOM_ASSIGN(token, token_named(json, "bos_token"));
    }
    return {};
  }));
  return token;
}

}  // namespace fathom::text
