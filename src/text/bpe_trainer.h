// Learning byte-level BPE merges from text (Sennrich et al. 2016, algorithm 1, on bytes, with GPT-2's cutting
// into words): again and again the most frequent adjacent pair becomes a token.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/pre_tokenizer.h"

namespace fathom::text {

struct BpeTrainOptions {
  int32_t vocab_size = 4096;  // special tokens, the 256 bytes, and what is learnt
  std::vector<std::string> special_tokens = {"<|endoftext|>"};  // ids from 0; never part of a word
  int64_t min_count = 2;  // pairs seen less often are not merged, so the vocabulary may stay smaller
};

// Tokens and merges in bytes, not in the byte-level alphabet.
struct TrainedBpe {
  std::vector<std::string> special_tokens;
  std::vector<std::string> tokens;  // by id, the special ones first, then the bytes
  std::vector<std::pair<std::string, std::string>> merges;
};

// The result depends on the text and the options only, not on how the text is cut into calls. Among pairs
// that are equally frequent the one whose bytes come last in lexicographic order (left token, then right)
// wins.
class BpeTrainer {
 public:
  // Error: a vocabulary that cannot hold the bytes and special tokens, or is larger than kMaxTokenId; a
  // special token that is given twice, or is not two or more printable ASCII characters without a space.
  static Result<BpeTrainer> create(BpeTrainOptions options);

  // More of one text. Holds back about a megabyte, and counts the words of the rest.
  void feed(std::string_view text);
  // The text ends here; another may follow.
  void end_text();

  // Learns from all that was fed, and forgets it: the words, which are most of the memory, are not held
  // twice.
  TrainedBpe train();

 private:
  explicit BpeTrainer(BpeTrainOptions options);
  void count_words(std::string_view text);

  BpeTrainOptions options_;
  AddedTokens specials_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<MatchScratch> scratch_;
  std::string pending_;
  std::unordered_map<std::string, int64_t> words_;
};

}  // namespace fathom::text
