// A pattern as a deterministic automaton over classes of characters: one table look-up a character, whatever
// the pattern. It finds the match that a backtracking search would: of all that start at a place, the one
// that the earlier alternatives and the greedy repetitions prefer (Cox, "Regular Expression Matching: the
// Virtual Machine Approach", 2009, threads by priority; each list of threads becomes a state).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/character_classes.h"

namespace fathom::text {

class PatternAutomaton {
 public:
  // Null if the pattern is not regular (regular_pattern.h) or has too many states. `source` is a PCRE2
  // pattern that compiles.
  static std::unique_ptr<const PatternAutomaton> create(std::string_view source);

  // The first match in [from, end), which is valid UTF-8 and the whole rest of the text: its end, and in
  // `begin` its start. Null if there is none, or if the search has used up the steps of `scratch`: every
  // place where a match may start reads on its own. Matches are never empty, and depend on nothing before
  // them.
  const char* find(const char* from, const char* end, const char*& begin, MatchScratch& scratch) const {
    while (from < end) {
      begin = from;
      const uint16_t entry = table_[start_ + class_at(from)];
      if (entry <= kMatches) continue;  // no match starts with this character
      const char* reached = nullptr;
      const char* matched = run(entry >> 1, from, end, reached);
      if (!scratch.spend(static_cast<uint64_t>(reached - begin))) return nullptr;
      if (matched != nullptr) return matched;
    }
    return nullptr;
  }

 private:
  // An entry of the table: twice the place of the next state's row, 0 for none; plus kMatches if what was
  // read before the character is a match.
  static constexpr uint16_t kMatches = 1;

  PatternAutomaton(std::unique_ptr<const CharacterClasses> classes, std::vector<uint16_t> table,
                   uint16_t start)
      : classes_(std::move(classes)), table_(std::move(table)), start_(start) {}

  // End of the match that is in the state of that row at `at`, and where it was told.
  const char* run(size_t row, const char* at, const char* end, const char*& reached) const {
    const uint16_t* const table = table_.data();
    const char* matched = nullptr;
    for (;;) {
      const char* next = at;
      const uint8_t character_class = at < end ? class_at(next) : CharacterClasses::kNone;
      const uint16_t entry = table[row + character_class];
      if ((entry & kMatches) != 0) matched = at;
      if (entry <= kMatches) {
        reached = at;
        return matched;
      }
      row = entry >> 1;
      at = next;
    }
  }

  // Class of the character at `at`, which moves past it.
  uint8_t class_at(const char*& at) const {
    const auto byte = [at](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(at[i])); };
    const uint32_t lead = byte(0);
    if (lead < 0x80) {
      ++at;
      return classes_->of_ascii(static_cast<uint8_t>(lead));
    }
    char32_t character = 0;
    if (lead < 0xE0) {
      character = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
      at += 2;
    } else if (lead < 0xF0) {
      character = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
      at += 3;
    } else {
      character = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
      at += 4;
    }
    return classes_->of(character);
  }

  std::unique_ptr<const CharacterClasses> classes_;
  std::vector<uint16_t> table_;  // rows of classes_->count() entries; the first belongs to no state
  uint16_t start_;
};

}  // namespace fathom::text
