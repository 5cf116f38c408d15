// Adjacent pairs of ids that may merge: (left, right) -> (rank, merged id). Open addressing, because this
// lookup is the inner loop of encoding.
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
      : slots_(std::bit_ceil(2 * expected + 2)), mask_(slots_.size() - 1) {}

  // Sets the merge of a pair; a later call for the same pair replaces an earlier one. At most `expected`
  // different pairs.
  void set(int32_t left, int32_t right, Merge merge) {
    Slot& slot = slots_[index_of(key_of(left, right))];
    slot = {key_of(left, right), merge};
  }

  // Null if the pair never merges.
  const Merge* find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[index_of(key_of(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.merge;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // ids are not negative
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  // The slot that holds the key, or the empty one where it would go.
  size_t index_of(uint64_t key) const {
    uint64_t hash = key * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
    size_t at = hash & mask_;
    while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & mask_;
    return at;
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

}  // namespace fathom::text
