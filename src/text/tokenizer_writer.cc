#include "text/tokenizer_writer.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "text/byte_alphabet.h"

namespace fathom::text {

namespace {

using Json = nlohmann::ordered_json;

Json added_tokens(const TrainedBpe& trained) {
  Json out = Json::array();
  for (const std::string& token : trained.special_tokens) {
    out.push_back({{"id", out.size()},
                   {"content", token},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", false},
                   {"special", true}});
  }
  return out;
}

Json model(const TrainedBpe& trained) {
  Json vocab = Json::object();
  for (size_t id = 0; id < trained.tokens.size(); ++id) {
    const bool special = id < trained.special_tokens.size();
    vocab[special ? trained.tokens[id] : to_byte_characters(trained.tokens[id])] = id;
  }
  Json merges = Json::array();
  for (const auto& [left, right] : trained.merges) {
    merges.push_back(to_byte_characters(left) + " " + to_byte_characters(right));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

}  // namespace

std::string tokenizer_json(const TrainedBpe& trained) {
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json out = {{"version", "1.0"},          {"truncation", nullptr},
                    {"padding", nullptr},        {"added_tokens", added_tokens(trained)},
                    {"normalizer", nullptr},     {"pre_tokenizer", byte_level},
                    {"post_processor", nullptr}, {"decoder", byte_level},
                    {"model", model(trained)}};
  return out.dump(1) + "\n";
}

std::string tokenizer_config_json(const TrainedBpe& trained) {
  Json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"add_prefix_space", false},
              {"clean_up_tokenization_spaces", false}};
  if (!trained.special_tokens.empty()) {
    for (const char* role : {"bos_token", "eos_token", "pad_token"}) out[role] = trained.special_tokens[0];
  }
  return out.dump(2) + "\n";
}

Status write_tokenizer(const TrainedBpe& trained, const std::string& folder) {
  FATHOM_TRY(make_directories(folder));
  const std::filesystem::path base(folder);
  FATHOM_TRY(write_file_atomic((base / "tokenizer.json").string(), tokenizer_json(trained)));
  return write_file_atomic((base / "tokenizer_config.json").string(), tokenizer_config_json(trained));
}

}  // namespace fathom::text
