// Writes a token shard (docs/formats/token-shards.md) document by document; it appears under its name
// complete or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/token_file.h"
#include "io/atomic_file.h"
#include "io/sha256.h"

namespace fathom {

struct TokenFileSettings {
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_document;  // appended to each document if set
};

class TokenFileWriter {
 public:
  static Result<TokenFileWriter> create(const std::string& path, const TokenFileSettings& settings);
  // One document. An error if an id is outside [0, vocab_size); nothing of the document is written then.
  Status add_document(std::span<const int32_t> ids);
  Status finish();
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return static_cast<int64_t>(starts_.size()); }

 private:
  TokenFileWriter(AtomicFile file, const TokenFileSettings& settings)
      : file_(std::move(file)), settings_(settings), width_(width_for(settings.vocab_size)) {}
  void put(int32_t id);
  Status flush();

  AtomicFile file_;
  TokenFileSettings settings_;
  TokenWidth width_;
  std::vector<uint8_t> buffer_;
  std::vector<uint64_t> starts_;
  int64_t tokens_ = 0;
  Sha256 hash_;
};

}  // namespace fathom
