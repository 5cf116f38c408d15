// The pipeline of encoding: added tokens, normalizer, pre-tokenizer, BPE, template.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "text/id_sink.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/word_cache.h"

namespace fathom::text {

class Encoder {
 public:
  // `parts` must outlive this. Throws TextRefused if an added token cannot be normalised.
  explicit Encoder(const TokenizerParts& parts) : parts_(parts), added_(parts.added, parts.normalizer) {}

  // Thread-safe: each call works in a scratch of its own. Throws TextRefused, after it has put some ids into
  // `out` perhaps.
  void encode(std::string_view text, EncodeOptions options, std::vector<int32_t>& out) const;

 private:
  struct Scratch {
    MatchScratch match;
    BpeScratch bpe;
    WordCache cache;
    std::vector<int32_t> word_ids;
  };
  // A scratch that nobody uses, which goes back when the lease ends.
  class Lease;

  void encode_segment(std::string_view segment, bool starts_text, EncodeOptions options, Scratch& scratch,
                      std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, bool starts_text, Scratch& scratch,
                    std::vector<int32_t>& out) const;
  void encode_word(std::string_view word, Scratch& scratch, IdSink& sink) const;

  const TokenizerParts& parts_;
  AddedTokens added_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace fathom::text
