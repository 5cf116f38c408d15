#include "io/model_directory.h"

#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "io/atomic_directory.h"

namespace fathom {

namespace {

constexpr JsonLimits kConfigLimits = {
    .max_bytes = uint64_t{16} << 20, .max_depth = 32, .max_values = 1'000'000};

Result<nlohmann::json> read_object(const std::string& path) {
  FATHOM_ASSIGN(nlohmann::json value, read_json_file(path, kConfigLimits));
  if (!value.is_object()) return invalid(path + ": is " + kind_of(value) + ", expected an object");
  return value;
}

// Those of one id or a list; -1 is none.
Result<std::vector<int32_t>> ids_from(const nlohmann::json& value, const std::string& where) {
  std::vector<int32_t> ids;
  for (const auto& id : value.is_array() ? value : nlohmann::json::array({value})) {
    if (id == -1) continue;
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return invalid(where + ": eos_token_id holds " + kind_of(id) + ", expected a token id");
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Status write_json(const std::string& path, const nlohmann::ordered_json& value) {
  return write_file_atomic(path, value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

// All but the tensors.
Status write_companions(const std::string& directory, const ModelDirectoryContent& content) {
  FATHOM_TRY(write_json(directory + "/config.json", content.config));
  if (content.generation_config) {
    FATHOM_TRY(write_json(directory + "/generation_config.json", *content.generation_config));
  }
  for (const auto& [name, text] : content.files) FATHOM_TRY(write_file_atomic(directory + "/" + name, text));
  return {};
}

}  // namespace

Result<ModelDirectory> ModelDirectory::open(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) return not_found(path + ": not a directory");
  ModelDirectory model;
  model.path_ = path;
  FATHOM_ASSIGN(model.config_, read_object(model.file("config.json")));
  if (model.has("generation_config.json")) {
    FATHOM_ASSIGN(model.generation_config_, read_object(model.file("generation_config.json")));
  }
  for (const char* name : kTokenizerFiles) {
    if (model.has(name)) model.tokenizer_files_.emplace_back(name);
  }
  return model;
}

std::string ModelDirectory::file(const std::string& name) const { return path_ + "/" + name; }

bool ModelDirectory::has(const std::string& name) const {
  std::error_code code;
  return std::filesystem::is_regular_file(file(name), code);
}

Result<std::vector<int32_t>> ModelDirectory::end_of_text_ids() const {
  struct Source {
    const nlohmann::json& object;
    const char* name;
  };
  for (const Source& source :
       {Source{generation_config_, "generation_config.json"}, Source{config_, "config.json"}}) {
    if (!source.object.is_object()) continue;
    const auto found = source.object.find("eos_token_id");
    if (found == source.object.end() || found->is_null()) continue;
    FATHOM_ASSIGN(std::vector<int32_t> ids, ids_from(*found, file(source.name)));
    if (!ids.empty()) return ids;
  }
  return std::vector<int32_t>{};
}

Status write_model_files(const std::string& directory, const ModelDirectoryContent& content) {
  FATHOM_TRY(write_companions(directory, content));
  return write_weight_files(directory, content.tensors, content.metadata, content.max_shard_bytes);
}

Status write_model_files(const std::string& directory, const ModelDirectoryContent& content,
                         const StreamedTensors& tensors) {
  FATHOM_CHECK(content.tensors.empty(), "the tensors are streamed");
  FATHOM_TRY(write_companions(directory, content));
  return write_weight_files(directory, tensors.specs, tensors.data, content.metadata,
                            content.max_shard_bytes);
}

Status write_model_directory(const std::string& path, const ModelDirectoryContent& content) {
  FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(path));
  FATHOM_TRY(write_model_files(directory.path(), content));
  return directory.commit();
}

}  // namespace fathom
