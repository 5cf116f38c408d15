// Text files as documents, and documents as token shards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/parallel.h"
#include "base/result.h"
#include "data/json_lines.h"
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
  // The ids of a document are in memory together, several times its bytes.
  uint64_t max_document_bytes = uint64_t{4} << 30;
};

// The files behind `paths` (files and directories) in the order they are read: `paths` as given, each
// directory sorted. Error if a path is absent or a directory holds no file with such a name.
Result<std::vector<std::string>> list_text_files(const std::vector<std::string>& paths,
                                                 const TextSettings& settings);

// The documents of text files, one after another. Files are mapped, so that their size does not matter.
class DocumentReader {
 public:
  // `files` as list_text_files() gives them. Error: an empty separator.
  static Result<DocumentReader> create(std::vector<std::string> files, TextSettings settings);

  // Puts the next document, which lives until the next call, into its argument; false when there is none.
  // Error: a file that cannot be read, a line of JSON Lines that is none, a document that is too large.
  Result<bool> next(std::string_view& document);
  // Bytes of the files, up to the end of the document that next() gave.
  int64_t bytes_read() const;

 private:
  DocumentReader(std::vector<std::string> files, TextSettings settings)
      : files_(std::move(files)), settings_(std::move(settings)) {}
  Status open_next();
  Result<bool> next_piece(std::string_view& document);

  std::vector<std::string> files_;
  TextSettings settings_;
  size_t opened_ = 0;                    // files up to the one being read
  std::optional<JsonLineReader> lines_;  // of that file, if it is JSON Lines,
  std::string line_;
  MappedFile text_;     // or the file,
  size_t at_ = 1;       // where its next piece begins, beyond its end if there is none,
  int64_t piece_ = 0;   // and the number of its last one
  int64_t passed_ = 0;  // bytes of the files before
};

// Calls `visit` with every document in order; the text lives for the call. Stops at the first error.
Status for_each_document(const std::vector<std::string>& files, const TextSettings& settings,
                         const std::function<Status(std::string_view)>& visit);

// Text to ids. Given by the caller, so that this folder needs no tokenizer.
using Tokenize = std::function<Result<std::vector<int32_t>>(std::string_view)>;

// Bytes as ids: 0..255 are bytes, 256 ends a document.
inline constexpr int64_t kByteVocabSize = 257;
inline constexpr int32_t kByteEndOfDocument = 256;
std::vector<int32_t> tokenize_bytes(std::string_view text);

// Takes the ids of a document, and the bytes of text up to its end; false: no more are wanted.
using TakeIds = std::function<Result<bool>(std::span<const int32_t> ids, int64_t bytes_read)>;

// Calls `take` with the ids of each document in order; they are made on all threads, which call `tokenize` at
// the same time. What `take` is given, and which error ends it, does not depend on the number of threads.
// Memory: a megabyte of text a thread with its ids, and the largest document.
Status encode_documents(DocumentReader& documents, const Tokenize& tokenize, Parallel& threads,
                        const TakeIds& take);

struct ShardSummary {
  int64_t files = 0, documents = 0, tokens = 0;
  int64_t bytes = 0, bytes_read = 0;  // of the text: all, and up to the end of the last document
};

// Reads text, writes one shard: up to the document with which it has `most_tokens`, whatever comes after it.
Result<ShardSummary> write_shard_from_text(const std::vector<std::string>& paths, const TextSettings& text,
                                           const Tokenize& tokenize, const TokenFileSettings& settings,
                                           const std::string& shard_path, Parallel& threads,
                                           int64_t most_tokens = std::numeric_limits<int64_t>::max());

}  // namespace fathom
