// Text to ids and back for the commands: a tokenizer directory, or bytes (0-255, 256 ends a document).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/incremental_decoder.h"
#include "text/tokenizer.h"

namespace fathom::cli {

class TextCodec {
 public:
  // "bytes", or a directory or file for Tokenizer::load.
  static Result<TextCodec> open(const std::string& where);
  // The tokenizer of a model directory; bytes if it has none and the model's vocabulary has 257 entries.
  static Result<TextCodec> of_model(const std::string& directory, int64_t vocab_size);

  // Options are for tokenizers; bytes have no special tokens.
  std::vector<int32_t> encode(std::string_view text, text::EncodeOptions options = {}) const;
  // Pieces of a prompt one after the other: markers that are special tokens become these, all else is text.
  std::vector<int32_t> encode(const std::vector<text::PromptPiece>& pieces) const;
  // The ids of a text, appended to `out`.
  void encode_to(std::string_view text, text::EncodeOptions options, std::vector<int32_t>& out) const;
  // What a text goes on from: the ids of `prompt`, or `start` where it has none; -1: no such token, an error.
  Result<std::vector<int32_t>> encode_prompt(std::string_view prompt, int32_t start) const;
  std::string decode(const std::vector<int32_t>& ids) const;
  // The same, with special tokens as the tokenizer writes them unless they are left out. Bytes have none.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;
  // What an id stands for, in bytes, of which several ids may make one character.
  std::string bytes_of(int32_t id) const;
  int32_t end_of_text() const { return end_of_text_; }  // -1: there is none
  // What stands before a text of its own: the token that begins a text, or else the one that ends one.
  int32_t start_of_text() const;
  int64_t vocab_size() const;
  bool is_bytes() const { return tokenizer_ == nullptr; }
  // The special token that is written like this, -1 if there is none.
  int32_t token_of(std::string_view special) const;

  // Text of ids one at a time, whole characters only; of special tokens only what is written like one of
  // `kept`.
  class Stream {
   public:
    explicit Stream(const TextCodec& codec, const std::vector<std::string_view>& kept = {});
    std::string push(int32_t id);
    std::string finish();

   private:
    std::unique_ptr<text::IncrementalDecoder> decoder_;  // null for bytes
    std::string pending_;
  };

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;  // null for bytes
  int32_t end_of_text_ = 256;
};

}  // namespace fathom::cli
