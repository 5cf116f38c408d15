#include "state/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fathom {

namespace {

constexpr uint64_t kStart = 0x9e3779b97f4a7c15U;

// Of a beginning that is one token longer. Equal hashes are compared token by token.
uint64_t extended(uint64_t hash, int32_t token) {
  hash = (hash ^ static_cast<uint32_t>(token)) * 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 32);
}

uint64_t hash_of(std::span<const int32_t> tokens) {
  uint64_t hash = kStart;
  for (const int32_t token : tokens) hash = extended(hash, token);
  return hash;
}

}  // namespace

PrefixCache::Entries::iterator PrefixCache::entry_for(uint64_t hash, uint64_t rule,
                                                      std::span<const int32_t> tokens) {
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    const Entry& entry = *at->second;
    if (entry.rule == rule && std::ranges::equal(entry.tokens, tokens)) return at->second;
  }
  return entries_.end();
}

std::optional<SequenceState> PrefixCache::find(std::span<const int32_t> tokens, uint64_t rule) {
  if (entries_.empty() || tokens.empty()) return {};
  std::vector<uint64_t> hashes;  // of the first 1, 2, ... tokens
  uint64_t hash = kStart;
  for (const int32_t token : tokens.first(tokens.size() - 1)) hashes.push_back(hash = extended(hash, token));
  for (size_t length = hashes.size(); length > 0; --length) {
    const auto entry = entry_for(hashes[length - 1], rule, tokens.first(length));
    if (entry == entries_.end()) continue;
    entries_.splice(entries_.begin(), entries_, entry);
    return entry->state.fork();
  }
  return {};
}

void PrefixCache::count_pages(const SequenceState& state, int64_t sign) {
  state.for_each_page([&](const uint8_t* page, int64_t page_bytes) {
    int64_t& holders = holders_[page];
    if (holders == 0 || holders + sign == 0) bytes_ += sign * page_bytes;
    holders += sign;
    if (holders == 0) holders_.erase(page);
  });
}

void PrefixCache::keep(std::span<const int32_t> tokens, uint64_t rule, const SequenceState& state) {
  FATHOM_CHECK(static_cast<int64_t>(tokens.size()) == state.position(), "tokens that the state has not read");
  if (tokens.empty()) return;
  const uint64_t hash = hash_of(tokens);
  if (const auto entry = entry_for(hash, rule, tokens); entry != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, entry);
    return;
  }
  std::optional<SequenceState> fork = state.fork();
  if (!fork) return;
  entries_.push_front({hash, rule, {tokens.begin(), tokens.end()}, std::move(*fork)});
  by_hash_.emplace(hash, entries_.begin());
  count_pages(entries_.front().state, 1);
  while (bytes_ > most_bytes_) drop_one();
}

void PrefixCache::drop(Entries::iterator entry) {
  const auto [begin, end] = by_hash_.equal_range(entry->hash);
  for (auto at = begin; at != end; ++at) {
    if (at->second != entry) continue;
    by_hash_.erase(at);
    break;
  }
  count_pages(entry->state, -1);
  entries_.erase(entry);
}

bool PrefixCache::drop_one() {
  if (entries_.empty()) return false;
  drop(std::prev(entries_.end()));
  return true;
}

}  // namespace fathom
