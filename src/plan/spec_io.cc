#include "plan/spec_io.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "base/toml.h"
#include "plan/config_dialects.h"

namespace fathom {

namespace {

constexpr JsonLimits kSpecLimits = {
    .max_bytes = uint64_t{16} << 20, .max_depth = 32, .max_values = 1'000'000};

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

std::vector<std::string> field_names(const nlohmann::json& object, const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& [key, value] : object.items()) {
    names.push_back(prefix + key);
    if (!value.is_object()) continue;
    const std::vector<std::string> inner = field_names(value, prefix + key + ".");
    names.insert(names.end(), inner.begin(), inner.end());
  }
  return names;
}

Result<ModelSpec> named(const std::string& name, Result<ModelSpec> spec) {
  if (!spec.ok()) return at(name, spec.error());
  return spec;
}

}  // namespace

Result<ModelSpec> parse_spec_toml(std::string_view text, const std::string& name) {
  const auto read = [&]() -> Result<ModelSpec> {
    FATHOM_ASSIGN(const toml::table table, parse_toml(text));
    FATHOM_ASSIGN(const nlohmann::json object, to_json(table, ""));
    return read_fathom_config(object);
  };
  return named(name, read());
}

Result<ModelSpec> parse_config_json(std::string_view text, const std::string& name) {
  const auto read = [&]() -> Result<ModelSpec> {
    FATHOM_ASSIGN(const nlohmann::json object, parse_json(text, kSpecLimits));
    if (!object.is_object()) return invalid("is " + kind_of(object) + ", expected an object");
    return read_dialect(object);
  };
  return named(name, read());
}

Result<ModelSpec> load_spec_over(const ModelSpec& base, const std::string& path,
                                 std::vector<std::string>* fields) {
  FATHOM_ASSIGN(const std::string text, read_file(path, TomlLimits::kBytes));
  const auto read = [&]() -> Result<ModelSpec> {
    FATHOM_ASSIGN(const toml::table table, parse_toml(text));
    FATHOM_ASSIGN(const nlohmann::json said, to_json(table, ""));
    nlohmann::json object = nlohmann::json::parse(write_fathom_config(base).dump());
    object.update(said, /*merge_objects=*/true);
    if (fields != nullptr) *fields = field_names(said, "");
    return read_fathom_config(object);
  };
  return named(path, read());
}

std::string write_config_json(const ModelSpec& spec) {
  if (is_plain_llama(spec)) return write_llama_config(spec).dump(2) + "\n";
  if (spec.architecture == "phi4flash") {
    const nlohmann::ordered_json published = write_phi4flash_config(spec);
    const Result<ModelSpec> read = read_phi4flash_config(nlohmann::json(published));
    if (read.ok() && *read == spec) return published.dump(2) + "\n";
  }
  return write_fathom_config(spec).dump(2) + "\n";
}

Result<ModelSpec> load_spec(const std::string& path) {
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  const std::string file = directory ? (std::filesystem::path(path) / "config.json").string() : path;
  const bool toml = file.ends_with(".toml");
  if (!toml && !file.ends_with(".json"))
    return invalid(file + ": expected a .toml or .json file, or a directory with config.json");
  FATHOM_ASSIGN(const std::string text, read_file(file, toml ? TomlLimits::kBytes : kSpecLimits.max_bytes));
  return toml ? parse_spec_toml(text, file) : parse_config_json(text, file);
}

}  // namespace fathom
