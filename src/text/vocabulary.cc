#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace fathom::text {

namespace {

uint32_t hash_of(std::string_view token) {
  const uint64_t hash = std::hash<std::string_view>{}(token);
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

Result<Vocabulary> Vocabulary::create(std::vector<std::pair<std::string, int64_t>> entries) {
  int64_t highest = -1;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id > kMaxTokenId) {
      return invalid("token \"" + token + "\" has id " + std::to_string(id) + ", expected 0 to " +
                     std::to_string(kMaxTokenId));
    }
    highest = std::max(highest, id);
  }
  Vocabulary out;
  out.tokens_.resize(static_cast<size_t>(highest + 1));
  out.slots_.resize(std::bit_ceil(2 * entries.size() + 1));
  for (std::pair<std::string, int64_t>& entry : entries) {
    const int64_t id = entry.second;
    std::optional<std::string>& slot = out.tokens_[static_cast<size_t>(id)];
    if (slot && *slot != entry.first) {
      return invalid("id " + std::to_string(id) + " is given to both \"" + *slot + "\" and \"" + entry.first +
                     "\"");
    }
    const uint32_t hash = hash_of(entry.first);
    Slot& place = out.slots_[out.index_of(entry.first, hash)];
    if (place.id != -1) return invalid("token \"" + entry.first + "\" is given twice");
    slot = std::move(entry.first);
    place = {hash, static_cast<int32_t>(id)};
  }
  return out;
}

size_t Vocabulary::index_of(std::string_view token, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id == -1 || (slot.hash == hash && *tokens_[static_cast<size_t>(slot.id)] == token)) return at;
  }
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const int32_t id = slots_[index_of(token, hash_of(token))].id;
  if (id == -1) return std::nullopt;
  return id;
}

std::optional<std::string_view> Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= size()) return std::nullopt;
  const auto& slot = tokens_[static_cast<size_t>(id)];
  if (!slot) return std::nullopt;
  return *slot;
}

}  // namespace fathom::text
