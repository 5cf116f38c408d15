// A file of token ids, mapped read-only: Fathom's own shards (docs/formats/token-shards.md), or the packed
// and the headerless ones of other trainers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "io/sha256.h"

namespace fathom {

// How wide an id is stored. Always little-endian.
enum class TokenWidth : uint8_t { kU16 = 2, kU32 = 4 };

// The narrowest width for ids below `vocab_size`.
TokenWidth width_for(int64_t vocab_size);

class TokenFile {
 public:
  // Checks everything: the layout, that every id is below the vocabulary's size, the table of documents, the
  // hash over the ids. Reads the file twice.
  static Result<TokenFile> open(const std::string& path);

  // The same checks over bytes in memory, which must outlive the object and lie at a multiple of 8; errors
  // carry no path.
  static Result<TokenFile> parse(std::span<const uint8_t> bytes);

  // Ids and nothing else. Documents end after each `end_of_document`; without it the file is one document.
  static Result<TokenFile> open_raw(const std::string& path, TokenWidth width, int64_t vocab_size,
                                    std::optional<int32_t> end_of_document);

  // A packed file (LITPKDS): header and ids. Documents as in a headerless file.
  static Result<TokenFile> open_packed(const std::string& path, int64_t vocab_size,
                                       std::optional<int32_t> end_of_document);
  // The same over bytes in memory, which must outlive the object and lie at a multiple of 8; errors carry no
  // path.
  static Result<TokenFile> parse_packed(std::span<const uint8_t> bytes, int64_t vocab_size,
                                        std::optional<int32_t> end_of_document);

  // By what the path ends with and the file begins with: a shard (.tokens), else packed, of llm.c, or
  // headerless ids as narrow as the vocabulary allows. `vocab_size` and `end_of_document` are for the latter
  // three.
  static Result<TokenFile> open_any(const std::string& path, int64_t vocab_size,
                                    std::optional<int32_t> end_of_document);

  int64_t tokens() const { return tokens_; }
  int64_t vocab_size() const { return vocab_size_; }
  TokenWidth width() const { return width_; }
  std::optional<int32_t> end_of_document() const { return end_of_document_; }
  // Index of the first token of each document, ascending; the first is 0 unless the file is empty.
  std::span<const uint64_t> document_starts() const;
  int64_t documents() const { return static_cast<int64_t>(document_starts().size()); }

  int32_t token(int64_t index) const;
  // Tokens [begin, begin + out.size()); the range must lie in the file.
  void read(int64_t begin, std::span<int32_t> out) const;

  // SHA-256 of the ids as they are stored; from the trailer of a shard, computed for raw files.
  const Sha256Digest& data_hash() const { return data_hash_; }
  const std::string& path() const { return path_; }

 private:
  Status read_layout();
  Status read_packed_layout();
  // What remains for files that carry no table of documents: checks ids, finds documents, hashes.
  Status read_bare_ids();
  Status check_ids() const;
  Status check_documents() const;
  Status check_hash() const;
  std::span<const uint8_t> id_bytes() const;

  MappedFile mapping_;
  std::span<const uint8_t> bytes_;  // the whole file, in the mapping or of parse()
  std::string path_;
  int64_t ids_offset_ = 0, tokens_ = 0, vocab_size_ = 0;
  TokenWidth width_ = TokenWidth::kU16;
  std::optional<int32_t> end_of_document_;
  std::span<const uint64_t> table_;     // in the mapping
  std::vector<uint64_t> found_starts_;  // of raw files
  Sha256Digest data_hash_{};
};

}  // namespace fathom
