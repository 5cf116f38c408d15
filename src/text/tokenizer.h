// Text to token ids and back, as a Hugging Face tokenizer.json says. Immutable; every method may be called
// from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::text {

class TokenBytes;

struct EncodeOptions {
  // Put the special tokens of the post-processor around the text (for instance a beginning-of-text token).
  bool add_special_tokens = false;
  // Special tokens written in the text become their ids. Must be false for text from outside that is not
  // trusted: it could otherwise end a turn or open another role's.
  bool parse_special = true;
};

// Roles that tokenizer_config.json (or special_tokens_map.json) gives to tokens. What ends a text is, where
// these do not say it, what ends one of the model in the same folder, and else the special token
// <|endoftext|>.
struct SpecialIds {
  std::optional<int32_t> bos, eos, pad, unk;
};

class Tokenizer {
 public:
  // `path` is a tokenizer.json, or the folder that holds one, or else vocab.json and merges.txt
  // (older_files.h); roles of special tokens are read from the files beside it. Errors name the file and the
  // field.
  static Result<Tokenizer> load(const std::string& path);
  // Whether the folder holds any of these.
  static bool is_in(const std::string& folder);
  // From the content of a tokenizer.json; no roles.
  static Result<Tokenizer> from_json(std::string_view json);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Bytes that are not UTF-8 are read as U+FFFD. Throws TextRefused (text_refused.h), with one sentence, when
  // the tokenizer cannot get through this text: its patterns take more steps than the text's length allows
  // (MatchScratch::kStepsPerByte in regex.h), or its normalizer makes too much of it. A tokenizer whose
  // patterns are those of published ones refuses no text.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  // The same, appended to `out`, which holds a part of the ids when this throws.
  void encode_to(std::string_view text, EncodeOptions options, std::vector<int32_t>& out) const;

  // Always valid UTF-8: bytes that are not become U+FFFD. Ids that are no token are left out, special tokens
  // too if `skip_special`. To decode ids as they arrive, see incremental_decoder.h.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // One more than the highest id; ids may have gaps below it.
  int32_t vocab_size() const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  // The token as tokenizer.json writes it.
  std::optional<std::string_view> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;
  const SpecialIds& special_ids() const;

  // What each id stands for, in bytes.
  const TokenBytes& token_bytes() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom::text
