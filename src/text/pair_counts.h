// The state of BPE training: words as ids, how often each adjacent pair occurs, and which pair is next.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fathom::text {

class PairCounts {
 public:
  struct Word {
    std::vector<int32_t> ids;
    int64_t count = 0;
  };
  struct Pair {
    int32_t left = 0, right = 0;
    int64_t count = 0;
  };

  // `tokens` gives the bytes of every id, for ties; it grows while training and must outlive this.
  PairCounts(std::vector<Word> words, const std::vector<std::string>& tokens);

  // The most frequent pair; count 0 when no pair is left.
  Pair best();
  // Makes every occurrence of the pair one token.
  void merge(int32_t left, int32_t right, int32_t merged);

 private:
  struct Occurrences {
    int64_t count = 0;
    std::vector<uint32_t> words;  // where the pair is or was
  };
  struct Candidate {
    int64_t count;
    uint64_t pair;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  static int32_t left_of(uint64_t key) { return static_cast<int32_t>(key >> 32); }
  static int32_t right_of(uint64_t key) { return static_cast<int32_t>(key & 0xFFFFFFFFU); }

  // Whether `b` is to be merged before `a`.
  bool worse(const Candidate& a, const Candidate& b) const;
  void push(uint64_t pair, int64_t count);
  // Adds `sign` times the word's count to its pairs; remembers the pairs that changed.
  void count_pairs(uint32_t word, int sign);

  std::vector<Word> words_;
  const std::vector<std::string>& tokens_;
  std::unordered_map<uint64_t, Occurrences> pairs_;
  std::vector<Candidate> heap_;
  std::vector<uint64_t> changed_;
};

}  // namespace fathom::text
