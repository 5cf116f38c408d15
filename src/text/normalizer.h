// Normalizers of tokenizer.json: what happens to text before it is cut into words.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "text/regex.h"

namespace fathom::text {

enum class UnicodeForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };  // Unicode annex 15

struct Lowercase {};
struct Replace {
  std::shared_ptr<const Regex> pattern;
  std::string content;
};
struct Prepend {
  std::string content;  // put in front of any text that is not empty
};
struct StripSpace {
  bool left = true, right = true;
};

using NormalizerStep = std::variant<UnicodeForm, Lowercase, Replace, Prepend, StripSpace>;

// Steps applied in order; none is the identity.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}
  bool is_identity() const { return steps_.empty(); }
  // `text` must be valid UTF-8. Throws TextRefused if a step makes it more than kMaxGrowth times as long, or
  // a pattern takes more steps than `scratch` has left.
  static constexpr size_t kMaxGrowth = 64;
  std::string apply(std::string_view text, MatchScratch& scratch) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace fathom::text
