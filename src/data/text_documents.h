// Text files as documents, and documents as token shards.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/token_file_writer.h"

namespace fathom {

struct TextSettings {
  // What is taken from directories: names ending so, sorted by path, folders inside included. Files given by
  // name are taken whatever they are called.
  std::vector<std::string> extensions = {".txt", ".jsonl"};
  // Set: a file is split at each occurrence, which belongs to no document; pieces that hold only white space
  // are dropped, others lose the line breaks around them. Not set: a file is one document, byte for byte.
  std::optional<std::string> separator;
  // Of files in JSON Lines (data/json_lines.h), which are not split: the field with the text.
  std::string json_field = "text";
  uint64_t max_file_bytes = uint64_t{4} << 30;
};

// The files behind `paths` (files and directories) in the order they are read: `paths` as given, each
// directory sorted. Error if a path is absent or a directory holds no file with such a name.
Result<std::vector<std::string>> list_text_files(const std::vector<std::string>& paths,
                                                 const TextSettings& settings);

// Calls `visit` with every document in order; the text lives for the call. Stops at the first error.
Status for_each_document(const std::vector<std::string>& files, const TextSettings& settings,
                         const std::function<Status(std::string_view)>& visit);

// Text to ids. Given by the caller, so that this folder needs no tokenizer.
using Tokenize = std::function<Result<std::vector<int32_t>>(std::string_view)>;

// Bytes as ids: 0..255 are bytes, 256 ends a document.
inline constexpr int64_t kByteVocabSize = 257;
inline constexpr int32_t kByteEndOfDocument = 256;
std::vector<int32_t> tokenize_bytes(std::string_view text);

struct ShardSummary {
  int64_t files = 0, documents = 0, tokens = 0;
};

// Reads text, writes one shard. Memory: one file of text (of JSON Lines: one line) and one document of ids.
Result<ShardSummary> write_shard_from_text(const std::vector<std::string>& paths, const TextSettings& text,
                                           const Tokenize& tokenize, const TokenFileSettings& settings,
                                           const std::string& shard_path);

}  // namespace fathom
