#include "text/bpe.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace fathom::text {

namespace {

constexpr size_t kShortWord = 64;  // bytes

// A min-heap by rank, then by position.
bool later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

std::array<int32_t, 256> byte_tokens(const Vocabulary& vocabulary) {
  std::array<int32_t, 256> ids{};
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    ids[byte] = vocabulary.find(name).value_or(-1);
  }
  return ids;
}

std::optional<std::array<int32_t, 256>> alphabet_tokens(const Vocabulary& vocabulary) {
  std::array<int32_t, 256> ids{};
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    const auto id = vocabulary.find(to_byte_characters(std::string(1, static_cast<char>(byte))));
    if (!id) return std::nullopt;
    ids[byte] = *id;
  }
  return ids;
}

}  // namespace

Result<Bpe> Bpe::create(Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
                        BpeOptions options) {
  Bpe bpe;
  bpe.merges_ = MergeTable(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto left_id = vocabulary.find(left);
    const auto right_id = vocabulary.find(right);
    const auto merged_id = vocabulary.find(left + right);
    if (!left_id || !right_id || !merged_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : left + right;
      return invalid("merge " + std::to_string(rank) + " (\"" + left + "\" \"" + right +
                     "\") needs the token \"" + missing + "\", which is not in the vocabulary");
    }
    bpe.merges_.set(*left_id, *right_id, {static_cast<int32_t>(rank), *merged_id});
  }
  if (!options.unk_token.empty()) {
    bpe.unk_id_ = vocabulary.find(options.unk_token);
    if (!bpe.unk_id_) return invalid("unk_token \"" + options.unk_token + "\" is not in the vocabulary");
  }
  if (options.byte_fallback) bpe.byte_ids_ = byte_tokens(vocabulary);
  bpe.alphabet_ids_ = alphabet_tokens(vocabulary);
  bpe.vocabulary_ = std::move(vocabulary);
  bpe.options_ = std::move(options);
  return bpe;
}

void Bpe::encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (options_.ignore_merges) {
    if (const auto whole = vocabulary_.find(word)) {
      out.push_back(*whole);
      return;
    }
  }
  start(word, scratch.symbols);
  if (scratch.symbols.empty()) return;
  merge_long(scratch);
  // Symbol 0 is never merged away: merging keeps the left one.
  for (int32_t at = 0; at != -1; at = scratch.symbols[at].next) out.push_back(scratch.symbols[at].id);
}

void Bpe::encode_bytes(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (alphabet_ids_ && !options_.ignore_merges && word.size() <= kShortWord) return merge_short(word, out);
  scratch.characters.clear();
  for (char byte : word) append_utf8(character_of_byte(static_cast<uint8_t>(byte)), scratch.characters);
  if (alphabet_ids_ && word.size() <= kShortWord) {
    if (const auto whole = vocabulary_.find(scratch.characters)) {
      out.push_back(*whole);
    } else {
      merge_short(word, out);
    }
    return;
  }
  encode(scratch.characters, scratch, out);
}

// For a few symbols it is fastest to look at all pairs for each merge.
void Bpe::merge_short(std::string_view word, std::vector<int32_t>& out) const {
  constexpr int32_t kNever = std::numeric_limits<int32_t>::max();
  // Of each symbol, and of its merge with the next. The last has none.
  std::array<int32_t, kShortWord> ids, ranks, merged;
  size_t count = word.size();
  if (count == 0) return;
  const auto look_up = [&](size_t left) {
    const Merge* found = merges_.find(ids[left], ids[left + 1]);
    ranks[left] = found == nullptr ? kNever : found->rank;
    merged[left] = found == nullptr ? 0 : found->id;
  };
  for (size_t i = 0; i < count; ++i) ids[i] = (*alphabet_ids_)[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < count; ++i) merges_.prefetch(ids[i], ids[i + 1]);
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  ranks[count - 1] = kNever;
  for (;;) {
    size_t best = 0;
    for (size_t i = 1; i < count; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == kNever) break;
    ids[best] = merged[best];
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      ids[i] = ids[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    if (best + 1 < count) {
      look_up(best);
    } else {
      ranks[best] = kNever;
    }
    if (best > 0) look_up(best - 1);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
}

// One symbol per character, with the vocabulary's answers for characters that have no token.
void Bpe::start(std::string_view word, std::vector<BpeScratch::Symbol>& symbols) const {
  FATHOM_CHECK(word.size() < (size_t{1} << 31), "a word of " + std::to_string(word.size()) + " bytes");
  symbols.clear();
  const auto add = [&symbols](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  };
  bool unknown_open = false;  // an unknown character not yet added, in case more are fused with it
  const auto close_unknown = [&] {
    if (unknown_open) add(*unk_id_);
    unknown_open = false;
  };
  while (!word.empty()) {
    const std::string_view character = word.substr(0, next_unit(word).size);
    word.remove_prefix(character.size());
    if (const auto id = vocabulary_.find(character)) {
      close_unknown();
      add(*id);
      continue;
    }
    if (byte_ids_ && std::ranges::none_of(character, [this](char byte) {
          return (*byte_ids_)[static_cast<uint8_t>(byte)] < 0;
        })) {
      // An open unknown stays open, so it comes after these bytes: as `tokenizers` has it.
      for (char byte : character) add((*byte_ids_)[static_cast<uint8_t>(byte)]);
      continue;
    }
    if (!unk_id_) continue;
    if (!options_.fuse_unk) close_unknown();
    unknown_open = true;
  }
  close_unknown();
  if (!symbols.empty()) symbols.back().next = -1;
}

// Puts the pair that starts at symbol `left` on the heap, if it merges.
void Bpe::offer(BpeScratch& scratch, int32_t left) const {
  const BpeScratch::Symbol& symbol = scratch.symbols[left];
  if (symbol.next == -1) return;
  const Merge* found = merges_.find(symbol.id, scratch.symbols[symbol.next].id);
  if (found == nullptr) return;
  scratch.heap.push_back({found->rank, left, found->id});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), later);
}

void Bpe::merge_long(BpeScratch& scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  constexpr int32_t kGone = -1;  // id of a symbol that was merged into its left neighbour
  scratch.heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) offer(scratch, static_cast<int32_t>(i));
  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), later);
    const BpeScratch::Candidate top = scratch.heap.back();
    scratch.heap.pop_back();
    BpeScratch::Symbol& left = symbols[top.left];
    if (left.id == kGone || left.next == -1) continue;
    BpeScratch::Symbol& right = symbols[left.next];
    const Merge* current = merges_.find(left.id, right.id);
    if (current == nullptr || current->id != top.id) continue;  // one of the two has changed since
    left.id = top.id;
    right.id = kGone;
    left.next = right.next;
    if (left.next != -1) symbols[left.next].previous = top.left;
    if (left.previous != -1) offer(scratch, left.previous);
    offer(scratch, top.left);
  }
}

}  // namespace fathom::text
