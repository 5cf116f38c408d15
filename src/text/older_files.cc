#include "text/older_files.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom::text {

namespace {

using Json = nlohmann::json;

constexpr JsonLimits kLimits = {.max_bytes = kMaxTokenizerJson, .max_depth = 32, .max_values = 10'000'000};

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// An object; an empty one if the file is absent.
Result<Json> read_object(const std::string& path) {
  if (!exists(path)) return Json(Json::object());
  FATHOM_ASSIGN(Json json, read_json_file(path, kLimits));
  if (!json.is_object()) return invalid(path + ": is " + kind_of(json) + ", expected an object");
  return json;
}

// One merge a line, behind a line with the version.
Result<Json> read_merges(const std::string& path) {
  FATHOM_ASSIGN(const std::string text, read_file(path, kMaxTokenizerJson));
  Json merges = Json::array();
  std::string_view rest = text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t length = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!is_valid_utf8(line)) return invalid(path + ": line " + std::to_string(number) + " is not UTF-8");
    if (!line.empty() && !(number == 1 && line.starts_with("#version"))) merges.push_back(std::string(line));
  }
  return merges;
}

void add_names(const Json& value, std::set<std::string>& names) {
  if (value.is_string()) names.insert(value.get<std::string>());
  if (value.is_object() && value.value("content", Json()).is_string())
    names.insert(value["content"].get<std::string>());
  if (value.is_array()) {
    for (const Json& entry : value) {
      if (!entry.is_array()) add_names(entry, names);
    }
  }
}

// What any role names.
std::set<std::string> special_names(const Json& config, const Json& map) {
  std::set<std::string> names = {"<|endoftext|>"};
  for (const Json* object : {&config, &map}) {
    for (const char* role : {"bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token",
                             "mask_token", "additional_special_tokens"}) {
      if (object->contains(role)) add_names(object->at(role), names);
    }
  }
  return names;
}

// Added tokens by their ids, as tokenizer.json has them; what is wrong with one is said where that is read.
Result<std::map<int64_t, Json>> read_added(const std::string& folder, const Json& config) {
  std::map<int64_t, Json> added;
  const std::string path = folder + "/added_tokens.json";
  FATHOM_ASSIGN(const Json older, read_object(path));
  for (const auto& [content, id] : older.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kMaxTokenId}) {
      return invalid(path + ": gives \"" + content + "\" the id " + id.dump() +
                     ", expected an integer from 0 to " + std::to_string(kMaxTokenId));
    }
    added[id.get<int64_t>()] = {{"id", id}, {"content", content}};
  }
  const Json newer = config.value("added_tokens_decoder", Json());
  if (newer.is_null()) return added;
  const std::string where = folder + "/tokenizer_config.json: added_tokens_decoder";
  if (!newer.is_object()) return invalid(where + " is " + kind_of(newer) + ", expected an object");
  for (const auto& [key, token] : newer.items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxTokenId)
      return invalid(where + " has the id \"" + key + "\", expected 0 to " + std::to_string(kMaxTokenId));
    if (!token.is_object())
      return invalid(where + "." + key + " is " + kind_of(token) + ", expected an object");
    added[id] = token;
    added[id]["id"] = id;
  }
  return added;
}

}  // namespace

bool has_older_files(const std::string& folder) {
  return exists(folder + "/vocab.json") && exists(folder + "/merges.txt");
}

Result<std::string> older_files_as_json(const std::string& folder) {
  FATHOM_ASSIGN(const Json config, read_object(folder + "/tokenizer_config.json"));
  const Json kind = config.value("tokenizer_class", Json());
  if (!kind.is_null() && kind != "GPT2Tokenizer" && kind != "GPT2TokenizerFast") {
    return not_supported(folder + "/tokenizer_config.json: tokenizer_class is " + kind.dump() +
                         " and there is no tokenizer.json; without one only GPT2Tokenizer is supported");
  }
  FATHOM_ASSIGN(const Json map, read_object(folder + "/special_tokens_map.json"));
  FATHOM_ASSIGN(const Json vocab, read_object(folder + "/vocab.json"));
  FATHOM_ASSIGN(const Json merges, read_merges(folder + "/merges.txt"));
  FATHOM_ASSIGN(auto added, read_added(folder, config));
  for (const std::string& name : special_names(config, map)) {
    bool found = false;
    for (auto& [id, token] : added) {
      if (token.value("content", Json()) != name) continue;
      token["special"] = found = true;
    }
    const auto id = vocab.find(name);
    if (!found && id != vocab.end() && id->is_number_unsigned())
      added[id->get<int64_t>()] = {{"id", *id}, {"content", name}, {"special", true}};
  }
  Json tokens = Json::array();
  for (auto& [id, token] : added) {
    token.erase("__type");  // the name of a class in Python
    tokens.push_back(std::move(token));
  }
  const Json prefix = config.value("add_prefix_space", Json());
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", prefix.is_null() ? Json(false) : prefix}};
  return Json{{"added_tokens", tokens},
              {"pre_tokenizer", byte_level},
              {"decoder", byte_level},
              {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}}
      .dump();
}

}  // namespace fathom::text
