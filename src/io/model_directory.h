// A model as a directory in the Hugging Face layout: config.json, weights, and what belongs to generation and
// tokenisation. This only finds and parses the files; what config.json means is for the plan to say.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"

namespace fathom {

// Files of a tokenizer and of its chat template, which go along with a model as they are.
inline constexpr std::array kTokenizerFiles = {
    "added_tokens.json", "chat_template.jinja",     "chat_template.json",
    "merges.txt",        "special_tokens_map.json", "tokenizer.json",
    "tokenizer.model",   "tokenizer_config.json",   "vocab.json"};

class ModelDirectory {
 public:
  // Reads config.json (required, an object) and generation_config.json (optional). No weights are opened.
  static Result<ModelDirectory> open(const std::string& path);

  const std::string& path() const { return path_; }
  const nlohmann::json& config() const { return config_; }
  // A null value if the file is absent.
  const nlohmann::json& generation_config() const { return generation_config_; }
  // Those of the known tokenizer and chat-template files that are present, by name.
  const std::vector<std::string>& tokenizer_files() const { return tokenizer_files_; }
  std::string file(const std::string& name) const;  // path of a file in the directory
  bool has(const std::string& name) const;

  Result<WeightFiles> open_weights() const { return WeightFiles::open(path_); }
  // Ids that end a generation: generation_config.json before config.json, a number or a list, of which -1 and
  // null say nothing; may be empty.
  Result<std::vector<int32_t>> end_of_text_ids() const;

 private:
  std::string path_;
  nlohmann::json config_, generation_config_;
  std::vector<std::string> tokenizer_files_;
};

// What a model directory is written from. `files` are copied in as they are: name -> content.
struct ModelDirectoryContent {
  nlohmann::ordered_json config;
  std::optional<nlohmann::ordered_json> generation_config;
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<TensorView> tensors;
  StringMap metadata = {{"format", "pt"}};
  uint64_t max_shard_bytes = uint64_t{5} << 30;
};

// Writes into an existing directory, usually AtomicDirectory::path().
Status write_model_files(const std::string& directory, const ModelDirectoryContent& content);
// The same, the tensors being these. `content` has none.
Status write_model_files(const std::string& directory, const ModelDirectoryContent& content,
                         const StreamedTensors& tensors);
// The whole directory, atomically, replacing one of that name.
Status write_model_directory(const std::string& path, const ModelDirectoryContent& content);

}  // namespace fathom
