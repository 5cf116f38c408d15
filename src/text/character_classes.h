// Characters in classes: two are of one class when the same of some given sets hold them. An automaton that
// asks only which sets hold a character then needs one column a class, not one a character.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "text/regex.h"

namespace fathom::text {

// Characters that a pattern may have in one place.
struct CharacterSet {
  std::string source;  // a PCRE2 pattern that matches exactly one character
  // Characters that the pattern names, first and last of a range. All others it must tell apart by their
  // general category only.
  std::vector<std::pair<char32_t, char32_t>> named;
};

// Which set holds which character is asked of PCRE2, once a character, so that the two cannot disagree;
// blocks of 256 characters are asked for when the first of them is seen. Immutable to callers; any thread may
// call.
class CharacterClasses {
 public:
  // The class of characters that no set holds, and of the end of a text: neither continues a match.
  static constexpr uint8_t kNone = 0;
  static constexpr size_t kMaxSets = 64;

  // Null if there are more sets than kMaxSets, the sets name every character of a general category that this
  // could try, or one of them is too long for a pattern of its own.
  static std::unique_ptr<const CharacterClasses> create(const std::vector<CharacterSet>& sets);
  ~CharacterClasses();
  CharacterClasses(const CharacterClasses&) = delete;
  CharacterClasses& operator=(const CharacterClasses&) = delete;

  uint8_t of_ascii(uint8_t byte) const { return ascii_[byte]; }
  uint8_t of(char32_t character) const {
    const Block* block = blocks_[character / kBlock].load(std::memory_order_acquire);
    if (block == nullptr) block = &fill(character / kBlock);
    return (*block)[character % kBlock];
  }
  size_t count() const { return members_.size(); }
  bool holds(size_t set, size_t character_class) const { return (members_[character_class] >> set & 1) != 0; }

 private:
  static constexpr size_t kBlock = 256;
  static constexpr size_t kBlocks = 0x110000 / kBlock;
  using Block = std::array<uint8_t, kBlock>;

  CharacterClasses() = default;
  // By character of the block, a bit a set.
  std::array<uint64_t, kBlock> ask(size_t block) const;
  const Block& fill(size_t block) const;
  const Block& keep(size_t block, const std::array<uint64_t, kBlock>& members) const;
  uint8_t class_of(uint64_t members) const;

  std::vector<Regex> sets_;
  std::vector<uint64_t> members_ = {0};  // by class, a bit a set
  std::array<uint8_t, 128> ascii_{};
  mutable std::array<std::atomic<const Block*>, kBlocks> blocks_{};
  mutable std::mutex mutex_;  // of filling
  mutable MatchScratch scratch_;
};

}  // namespace fathom::text
