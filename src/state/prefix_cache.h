// What sequences remembered at some of their tokens, for others that begin with the same ones. An entry is a
// fork of a state: full pages of keys are shared with the sequence it came from and with other entries, rings
// and recurrences are copies. Whoever finds one goes on from it with the bits that reading the tokens again
// would give.
//
// Entries are for the same tokens under the same rule; the least recently used goes first.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "state/sequence_state.h"

namespace fathom {

class PrefixCache {
 public:
  // `most_bytes` of pages that entries hold, a page that several hold counted once.
  explicit PrefixCache(int64_t most_bytes) : most_bytes_(most_bytes) {}

  // A fork of the entry that has read the most of `tokens`, but not all of them. `rule` says what else
  // decides what a state is: how deep recursion goes, for instance. None: no entry, or no memory for the
  // fork.
  std::optional<SequenceState> find(std::span<const int32_t> tokens, uint64_t rule);

  // Keeps what `state` is after all of `tokens`, unless it is there or there is no room.
  void keep(std::span<const int32_t> tokens, uint64_t rule, const SequenceState& state);

  // Lets the least recently used entry go. False: there is none.
  bool drop_one();

  int64_t bytes() const { return bytes_; }
  int64_t entries() const { return static_cast<int64_t>(entries_.size()); }

 private:
  struct Entry {
    uint64_t hash, rule;
    std::vector<int32_t> tokens;
    SequenceState state;
  };
  using Entries = std::list<Entry>;  // the most recently used first
  // The entry for exactly these tokens.
  Entries::iterator entry_for(uint64_t hash, uint64_t rule, std::span<const int32_t> tokens);
  void count_pages(const SequenceState& state, int64_t sign);
  void drop(Entries::iterator entry);

  int64_t most_bytes_, bytes_ = 0;
  Entries entries_;
  std::unordered_multimap<uint64_t, Entries::iterator> by_hash_;
  std::unordered_map<const uint8_t*, int64_t> holders_;  // entries that have a page
};

}  // namespace fathom
