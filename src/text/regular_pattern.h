// The patterns that an automaton can run: characters and sets of characters, sequence, choice, repetition,
// and a look at the one character that follows. All patterns of published tokenizers known to us are of this
// kind.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/character_classes.h"

namespace fathom::text {

struct PatternNode {
  enum class Kind : uint8_t {
    kSet,       // one character of sets[set]
    kSequence,  // `parts` one after another
    kChoice,    // the first of `parts` that lets the whole match
    kRepeat,    // parts[0] `min` to `max` times, as often as possible if greedy, else as rarely as possible
    kFollows    // no character: the next is in sets[set], or if `negative` there is none or it is not
  };
  static constexpr int kUnbounded = -1;

  Kind kind = Kind::kSequence;
  size_t set = 0;
  bool negative = false;
  int min = 0, max = 0;
  bool greedy = true;
  std::vector<PatternNode> parts;
};

struct RegularPattern {
  PatternNode root;
  std::vector<CharacterSet> sets;
};

// Nothing for patterns of another kind (anchors, back references, look-behind, possessive repetition,
// scripts,
// ...), of more sets than CharacterClasses takes, and for those that match the empty text. `source` is a
// PCRE2 pattern that compiles.
std::optional<RegularPattern> parse_regular(std::string_view source);

}  // namespace fathom::text
