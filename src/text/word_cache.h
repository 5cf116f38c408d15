// Ids of words seen lately, in a fixed amount of memory: a word goes to the one slot that its hash names, and
// takes it from the word before. Not thread-safe; every thread's scratch has its own.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace fathom::text {

class WordCache {
 public:
  // Short words with few ids are most of any text. They have slots of their own, two to a cache line.
  static constexpr size_t kShortWord = 15, kShortIds = 3;  // bytes, ids
  static constexpr size_t kLongWord = 46, kLongIds = 19;   // longer words are rarely seen twice
  static constexpr size_t kShortSlots = 1 << 16, kLongSlots = 1 << 13;
  // What a call of find() may write past the ids it returns the number of.
  static constexpr size_t kMaxIds = kLongIds;

  WordCache() : short_(kShortSlots), long_(kLongSlots) {}

  // Writes the ids of `word` to `out`, which has room for kMaxIds, and returns how many they are; -1 if the
  // word is not here.
  int find(std::string_view word, int32_t* out) const {
    if (word.size() <= kShortWord) {
      const Key key = key_of(word);
      const ShortSlot& slot = short_[hash(key) % kShortSlots];
      if (slot.key == key) {
        std::memcpy(out, slot.ids, sizeof slot.ids);
        return slot.count;
      }
    }
    return word.size() <= kLongWord ? find_long(word, out) : -1;
  }

  // `word` is not empty. Words and lists of ids past the limits are not kept.
  void insert(std::string_view word, std::span<const int32_t> ids);

 private:
  // The bytes of a short word, zeros, and in the last byte its size.
  struct Key {
    uint64_t low = 0, high = 0;
    bool operator==(const Key&) const = default;
  };
  struct alignas(32) ShortSlot {
    Key key;  // size 0: empty
    int32_t ids[kShortIds] = {};
    int32_t count = 0;
  };
  struct alignas(64) LongSlot {
    uint8_t size = 0;  // 0: empty
    uint8_t count = 0;
    char word[kLongWord];
    int32_t ids[kLongIds];
  };
  static_assert(sizeof(ShortSlot) == 32 && sizeof(LongSlot) == 128);

  static uint64_t load(const char* from, size_t bytes) {
    uint64_t value = 0;
    std::memcpy(&value, from, bytes);
    return value;
  }
  // Reads only bytes of the word, some of them twice.
  static Key key_of(std::string_view word) {
    const char* const at = word.data();
    const size_t size = word.size();
    const uint64_t last = static_cast<uint64_t>(size) << 56;
    if (size >= 8) return {load(at, 8), last | (size == 8 ? 0 : load(at + size - 8, 8) >> (8 * (16 - size)))};
    if (size >= 4) return {load(at, 4) | load(at + size - 4, 4) << (8 * (size - 4)), last};
    if (size == 0) return {0, last};
    return {
        load(at, 1) | load(at + size / 2, 1) << (8 * (size / 2)) | load(at + size - 1, 1) << (8 * (size - 1)),
        last};
  }
  static uint64_t mix(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  static uint64_t hash(const Key& key) {
    return mix(key.low ^ 0x9E3779B97F4A7C15ULL, key.high ^ 0xD1B54A32D192ED03ULL);
  }
  static uint64_t hash(std::string_view word);
  int find_long(std::string_view word, int32_t* out) const;

  std::vector<ShortSlot> short_;  // 2 MB
  std::vector<LongSlot> long_;    // 1 MB
};

}  // namespace fathom::text
