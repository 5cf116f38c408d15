// Ids of words seen lately. Bounded: when full it starts again from nothing. Not thread-safe; every thread's
// scratch has its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

class WordCache {
 public:
  static constexpr size_t kMaxWord = 48;  // bytes; longer words are rarely seen twice
  static constexpr size_t kMaxIdsPerWord = 64;
  static constexpr size_t kMaxWords = 1 << 15;  // so at most 10 MB of words and ids

  WordCache();
  // The span is valid until the next insert().
  std::optional<std::span<const int32_t>> find(std::string_view word) const;
  // Words and id lists past the limits are not kept.
  void insert(std::string_view word, std::span<const int32_t> ids);

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t text = 0, ids = 0;         // offsets
    uint16_t text_size = 0, count = 0;  // text_size 0: empty slot
  };
  size_t index_of(uint64_t hash, std::string_view word) const;

  std::vector<Slot> slots_;  // twice kMaxWords
  std::string text_;
  std::vector<int32_t> ids_;
  size_t words_ = 0;
};

}  // namespace fathom::text
