// Byte-pair encoding of one word (Sennrich et al. 2016, section 3.2, with merges in order of rank): start
// from single characters, repeatedly merge the adjacent pair of lowest rank, leftmost first, until none
// merges.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace fathom::text {

struct BpeOptions {
  std::string unk_token;       // empty: none; a character without token is then dropped
  bool fuse_unk = false;       // adjacent unknown characters become one unk_token
  bool byte_fallback = false;  // a character without token becomes its bytes' tokens <0x00> ... <0xFF>
  bool ignore_merges = false;  // a word that is a token is taken whole, whatever the merges say
};

// Working memory of encode(); reused from call to call, one per thread.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // indices of the neighbours, -1 at the ends
  };
  struct Candidate {
    int32_t rank, left;  // the pair starts at symbol `left`
    int32_t id;          // of the merged token
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string characters;  // of a word of bytes
};

class Bpe {
 public:
  // `merges` in order of rank, each a pair of token strings. Error: a merge whose parts or result are not
  // tokens, an unk_token that is none.
  static Result<Bpe> create(Vocabulary vocabulary,
                            const std::vector<std::pair<std::string, std::string>>& merges,
                            BpeOptions options);

  // Appends the ids of `word` (valid UTF-8, in the characters of the vocabulary). O(n log n).
  void encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

  // The same for a word of bytes, with a vocabulary that writes them in the byte-level alphabet.
  void encode_bytes(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Bpe() = default;
  void start(std::string_view word, std::vector<BpeScratch::Symbol>& symbols) const;
  void merge_long(BpeScratch& scratch) const;
  void merge_short(std::string_view word, std::vector<int32_t>& out) const;
  void offer(BpeScratch& scratch, int32_t left) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::optional<int32_t> unk_id_;
  std::optional<std::array<int32_t, 256>> byte_ids_;  // of <0x00> ... <0xFF>; -1 where there is none
  // Of the single characters of the byte-level alphabet, by byte, if each of them is a token.
  std::optional<std::array<int32_t, 256>> alphabet_ids_;
};

}  // namespace fathom::text
