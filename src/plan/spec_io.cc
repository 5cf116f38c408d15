#include "plan/spec_io.h"

#include <toml++/toml.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "plan/config_dialects.h"

namespace fathom {

namespace {

constexpr uint64_t kMaxSpecBytes = uint64_t{1} << 24;

// The writer of messages recurses into values, so depth is bounded before anything is parsed.
bool nested_too_deeply(std::string_view text) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        quoted = false;
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == '[' || text[i] == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (text[i] == ']' || text[i] == '}') {
      --depth;
    }
  }
  return false;
}

Result<nlohmann::json> to_json(const toml::node& node, const std::string& key) {
  if (const auto* table = node.as_table()) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [name, value] : *table) {
      const std::string field(name.str());
      FATHOM_ASSIGN(object[field], to_json(value, key.empty() ? field : key + "." + field));
    }
    return object;
  }
  if (const auto* array = node.as_array()) {
    nlohmann::json list = nlohmann::json::array();
    for (const toml::node& value : *array) {
      FATHOM_ASSIGN(nlohmann::json entry, to_json(value, key));
      list.push_back(std::move(entry));
    }
    return list;
  }
  if (const auto* text = node.as_string()) return nlohmann::json(text->get());
  if (const auto* integer = node.as_integer()) return nlohmann::json(integer->get());
  if (const auto* number = node.as_floating_point()) return nlohmann::json(number->get());
  if (const auto* flag = node.as_boolean()) return nlohmann::json(flag->get());
  return invalid(key + ": dates have no meaning here");
}

Result<nlohmann::json> parse_toml(std::string_view text) {
  try {
    const toml::table table = toml::parse(text);
    return to_json(table, "");
  } catch (const toml::parse_error& error) {
    std::ostringstream message;
    message << "line " << error.source().begin.line << ": " << error.description();
    return invalid(message.str());
  }
}

Result<ModelSpec> read_dialect(const nlohmann::json& object) {
  if (object.contains("plain") && object.contains("llama_config")) return read_mor_case_config(object);
  if (object.contains("n_layer") && object.contains("n_embd")) return read_archscale_config(object);
  const auto type = object.find("model_type");
  if (type == object.end())
    return invalid("model_type: absent, expected \"llama\", \"phi4flash\" or \"fathom\"");
  if (*type == "fathom") return read_fathom_config(object);
  if (*type == "llama") return read_llama_config(object);
  if (*type == "phi4flash") return read_phi4flash_config(object);
  return not_supported("not supported yet: model_type = " + type->dump() +
                       " (supported: \"llama\", \"phi4flash\", \"fathom\")");
}

Result<ModelSpec> named(const std::string& name, Result<ModelSpec> spec) {
  if (!spec.ok()) return at(name, spec.error());
  return spec;
}

}  // namespace

Result<ModelSpec> parse_spec_toml(std::string_view text, const std::string& name) {
  Result<nlohmann::json> object = parse_toml(text);
  if (!object.ok()) return at(name, object.error());
  return named(name, read_fathom_config(*object));
}

Result<ModelSpec> parse_config_json(std::string_view text, const std::string& name) {
  if (text.size() > kMaxSpecBytes)
    return invalid(name + ": " + std::to_string(text.size()) + " bytes, expected at most " +
                   std::to_string(kMaxSpecBytes));
  if (nested_too_deeply(text)) return invalid(name + ": nested too deeply for a configuration");
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return invalid(name + ": not valid JSON");
  if (!object.is_object()) return invalid(name + ": expected a JSON object");
  return named(name, read_dialect(object));
}

std::string write_config_json(const ModelSpec& spec) {
  const nlohmann::ordered_json object =
      is_plain_llama(spec) ? write_llama_config(spec) : write_fathom_config(spec);
  return object.dump(2) + "\n";
}

Result<ModelSpec> load_spec(const std::string& path) {
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  const std::string file = directory ? (std::filesystem::path(path) / "config.json").string() : path;
  FATHOM_ASSIGN(const std::string text, read_file(file, kMaxSpecBytes));
  if (file.ends_with(".toml")) return parse_spec_toml(text, file);
  if (file.ends_with(".json")) return parse_config_json(text, file);
  return invalid(file + ": expected a .toml or .json file, or a directory with config.json");
}

}  // namespace fathom
