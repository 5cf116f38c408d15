// Pre-tokenizers of tokenizer.json: they cut text into the words that BPE works on. Every kind of the file is
// built from four steps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "text/split_pattern.h"

namespace fathom::text {

// What happens to the matches of a split; "gap" is what lies between matches.
enum class SplitBehavior : uint8_t {
  kRemoved,             // matches are dropped
  kIsolated,            // each match and each gap is a piece
  kMergedWithPrevious,  // a match is the end of the gap before it
  kMergedWithNext,      // a match is the start of the gap after it
  kContiguous           // adjacent matches are one piece
};

struct SplitStep {
  SplitPattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // matches and gaps change roles
};

struct PrefixStep {
  std::string prefix;       // put before pieces that do not start with it
  bool only_first = false;  // only before the piece that starts the whole text
};

struct ReplaceStep {
  std::string from, to;
};

struct ByteMapStep {};  // every byte becomes its character of the byte-level alphabet

using PreTokenizerStep = std::variant<SplitStep, PrefixStep, ReplaceStep, ByteMapStep>;

// The pattern of a ByteLevel pre-tokenizer with use_regex (GPT-2).
extern const std::string_view kGpt2Pattern;

class PreTokenizer {
 public:
  PreTokenizer() = default;
  // A final ByteMapStep is not run by split() but reported by maps_bytes(), so that callers can look words up
  // before they map them.
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps);

  // Cuts `text` (valid UTF-8) into pieces, none empty, and calls `visit` with each; it lives for the call.
  // `starts_text`: `text` is the start of what the caller encodes. Throws TextRefused when that takes more
  // steps than `scratch` has left. Steps are run inside each other: the stack grows with their number.
  using Visit = FunctionRef<void(std::string_view)>;
  void split(std::string_view text, bool starts_text, MatchScratch& scratch, Visit visit) const;

  bool maps_bytes() const { return maps_bytes_; }

 private:
  class Walk;

  std::vector<PreTokenizerStep> steps_;
  bool maps_bytes_ = false;
};

}  // namespace fathom::text
