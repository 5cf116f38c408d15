// Adjacent pairs of ids that may merge: (left, right) -> (rank, merged id). Open addressing, because this
// look-up is the inner loop of encoding. Most pairs do not merge, so keys lie apart from what they stand for:
// a pair that is not here costs half the memory traffic.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace fathom::text {

struct Merge {
  int32_t rank = 0;  // lower merges first
  int32_t id = 0;    // of the merged token
};

class MergeTable {
 public:
  explicit MergeTable(size_t expected = 0)
      : keys_(std::bit_ceil(expected + expected / 2 + 2), kEmpty),
        merges_(keys_.size()),
        mask_(keys_.size() - 1) {}

  // Sets the merge of a pair; a later call for the same pair replaces an earlier one. At most `expected`
  // different pairs.
  void set(int32_t left, int32_t right, Merge merge) {
    const size_t at = index_of(key_of(left, right));
    keys_[at] = key_of(left, right);
    merges_[at] = merge;
  }

  // Null if the pair never merges.
  const Merge* find(int32_t left, int32_t right) const {
    const size_t at = index_of(key_of(left, right));
    return keys_[at] == kEmpty ? nullptr : &merges_[at];
  }

  // Asks the memory for what find() will read.
  void prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(keys_.data() + first_of(key_of(left, right)));
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // ids are not negative

  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  size_t first_of(uint64_t key) const {
    const uint64_t hash = key * 0x9E3779B97F4A7C15ULL;
    return (hash ^ (hash >> 32)) & mask_;
  }
  // The slot that holds the key, or the empty one where it would go.
  size_t index_of(uint64_t key) const {
    size_t at = first_of(key);
    while (keys_[at] != key && keys_[at] != kEmpty) at = (at + 1) & mask_;
    return at;
  }

  std::vector<uint64_t> keys_;
  std::vector<Merge> merges_;  // by slot
  size_t mask_;
};

}  // namespace fathom::text
