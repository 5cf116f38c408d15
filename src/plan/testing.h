// Small specs for tests, and the reference files beside the repository.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/file.h"
#include "plan/model_plan.h"

namespace fathom::testing_plan {

inline ModelSpec tiny() {
  ModelSpec spec;
  spec.vocab_size = 97;
  spec.hidden_size = 32;
  spec.intermediate_size = 64;
  spec.num_hidden_layers = 8;
  spec.num_attention_heads = 4;
  spec.num_key_value_heads = 2;
  spec.head_dim = 8;
  spec.max_position_embeddings = 64;
  return spec;
}

inline ModelSpec tiny_recursive(Sharing sharing, int64_t num_recursion) {
  ModelSpec spec = tiny();
  spec.sharing = sharing;
  spec.num_recursion = num_recursion;
  spec.tie_word_embeddings = false;
  return spec;
}

inline ModelSpec tiny_mor(Sharing sharing, int64_t num_recursion) {
  ModelSpec spec = tiny_recursive(sharing, num_recursion);
  spec.tie_word_embeddings = true;
  spec.router = RouterSpec{};
  return spec;
}

inline ModelSpec relaxed(ModelSpec spec, RelaxationMethod method) {
  spec.relaxation = RelaxationSpec{.method = method, .rank = 5, .prompt_length = 3};
  return spec;
}

inline ModelSpec hybrid(std::string architecture, int64_t num_layers) {
  ModelSpec spec = tiny();
  spec.architecture = std::move(architecture);
  spec.num_hidden_layers = num_layers;
  return spec;
}

// The folder of shared reference files, or empty where there is none. One that is named must be there.
inline std::string shared_folder() {
  const char* variable = std::getenv("FATHOM_SHARED");
  const std::string named = variable != nullptr ? variable : "";
  const std::filesystem::path folder =
      named.empty() ? std::filesystem::path(FATHOM_SOURCE_DIR) / "../shared" : std::filesystem::path(named);
  if (std::filesystem::is_directory(folder / "fixtures")) return folder.string();
  if (!named.empty()) throw std::runtime_error("FATHOM_SHARED: " + named + " has no folder fixtures");
  return {};
}

// A table of a family's numbers: the shared one, or its copy in the folder `copies` of tests/fixtures.
inline std::string table_file(const std::string& family, const std::string& copies, const std::string& name) {
  const std::string shared = shared_folder();
  return shared.empty() ? std::string(FATHOM_SOURCE_DIR) + "/tests/fixtures/" + copies + "/" + name
                        : shared + "/fixtures/" + family + "/tables/" + name;
}

inline nlohmann::json read_json(const std::string& path) {
  const Result<std::string> text = read_file(path);
  return text.ok() ? nlohmann::json::parse(*text) : nlohmann::json();
}

// The header of a safetensors file: eight bytes of length, then JSON.
inline nlohmann::json safetensors_header(const std::string& path) {
  const Result<MappedFile> file = MappedFile::open(path);
  if (!file.ok() || file->bytes().size() < 8) return {};
  uint64_t length = 0;
  std::memcpy(&length, file->bytes().data(), 8);
  if (length > file->bytes().size() - 8) return {};
  const auto* text = reinterpret_cast<const char*>(file->bytes().data() + 8);
  nlohmann::json header = nlohmann::json::parse(text, text + length);
  header.erase("__metadata__");
  return header;
}

}  // namespace fathom::testing_plan
