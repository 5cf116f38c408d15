#include "text/word_cache.h"

#include <algorithm>

namespace fathom::text {

uint64_t WordCache::hash(std::string_view word) {
  uint64_t value = word.size();
  size_t at = 0;
  for (; at + 8 <= word.size(); at += 8)
    value = mix(value ^ load(word.data() + at, 8), 0x9E3779B97F4A7C15ULL);
  uint64_t rest = 0;
  std::memcpy(&rest, word.data() + at, word.size() - at);
  return mix(value ^ rest, 0xD1B54A32D192ED03ULL);
}

int WordCache::find_long(std::string_view word, int32_t* out) const {
  const LongSlot& slot = long_[hash(word) % kLongSlots];
  if (word.empty() || std::string_view(slot.word, slot.size) != word) return -1;
  std::copy_n(slot.ids, slot.count, out);
  return slot.count;
}

void WordCache::insert(std::string_view word, std::span<const int32_t> ids) {
  if (word.size() <= kShortWord && ids.size() <= kShortIds) {
    const Key key = key_of(word);
    ShortSlot& slot = short_[hash(key) % kShortSlots];
    slot.key = key;
    slot.count = static_cast<int32_t>(ids.size());
    std::ranges::copy(ids, slot.ids);
  } else if (word.size() <= kLongWord && ids.size() <= kLongIds) {
    LongSlot& slot = long_[hash(word) % kLongSlots];
    slot.size = static_cast<uint8_t>(word.size());
    slot.count = static_cast<uint8_t>(ids.size());
    std::ranges::copy(word, slot.word);
    std::ranges::copy(ids, slot.ids);
  }
}

}  // namespace fathom::text
