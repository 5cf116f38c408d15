#include "text/word_cache.h"

#include <algorithm>

namespace fathom::text {

WordCache::WordCache() : slots_(2 * kMaxWords) {}

size_t WordCache::index_of(uint64_t hash, std::string_view word) const {
  size_t at = hash & (slots_.size() - 1);
  for (;; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.text_size == 0) return at;
    if (slot.hash == hash && word == std::string_view(text_).substr(slot.text, slot.text_size)) return at;
  }
}

std::optional<std::span<const int32_t>> WordCache::find(std::string_view word) const {
  if (word.empty() || word.size() > kMaxWord) return std::nullopt;
  const Slot& slot = slots_[index_of(std::hash<std::string_view>{}(word), word)];
  if (slot.text_size == 0) return std::nullopt;
  return std::span(ids_).subspan(slot.ids, slot.count);
}

void WordCache::insert(std::string_view word, std::span<const int32_t> ids) {
  if (word.empty() || word.size() > kMaxWord || ids.size() > kMaxIdsPerWord) return;
  if (words_ == kMaxWords) {
    std::ranges::fill(slots_, Slot{});
    text_.clear();
    ids_.clear();
    words_ = 0;
  }
  const uint64_t hash = std::hash<std::string_view>{}(word);
  Slot& slot = slots_[index_of(hash, word)];
  if (slot.text_size != 0) return;
  slot = {hash, static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(ids_.size()),
          static_cast<uint16_t>(word.size()), static_cast<uint16_t>(ids.size())};
  text_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++words_;
}

}  // namespace fathom::text
