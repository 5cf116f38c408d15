#include "text/regular_pattern.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "text/utf8.h"

namespace fathom::text {

namespace {

using Kind = PatternNode::Kind;

constexpr int kMaxDepth = 32;        // of groups
constexpr int kMaxRepetitions = 64;  // in {n,m}

constexpr std::array<std::string_view, 36> kCategories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd",
    "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm",
    "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};

constexpr bool is_ascii_letter(char32_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

bool matches_empty(const PatternNode& node) {
  switch (node.kind) {
    case Kind::kSet:
      return false;
    case Kind::kSequence:
      return std::ranges::all_of(node.parts, matches_empty);
    case Kind::kChoice:
      return std::ranges::any_of(node.parts, matches_empty);
    case Kind::kRepeat:
      return node.min == 0 || matches_empty(node.parts[0]);
    case Kind::kFollows:
      return true;
  }
  return true;
}

// Recursive descent; a function returns false at the first thing that is not of the kind.
class Parser {
 public:
  explicit Parser(std::string_view source) : rest_(source) {}

  std::optional<RegularPattern> run() {
    RegularPattern pattern;
    if (!choice(pattern.root, false) || !rest_.empty() || matches_empty(pattern.root)) return std::nullopt;
    pattern.sets = std::move(sets_);
    return pattern;
  }

 private:
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  char32_t take_character() {
    const Utf8Unit unit = next_unit(rest_);
    rest_.remove_prefix(unit.size);
    return unit.character;
  }

  bool take_number(int& number) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc{} || number < 0) return false;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return true;
  }

  bool choice(PatternNode& node, bool caseless) {
    node.kind = Kind::kChoice;
    do {
      if (!sequence(node.parts.emplace_back(), caseless)) return false;
    } while (take("|"));
    return true;
  }

  bool sequence(PatternNode& node, bool caseless) {
    node.kind = Kind::kSequence;
    while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')') {
      if (sets_.size() > CharacterClasses::kMaxSets) return false;
      PatternNode part;
      if (!atom(part, caseless) || !repetition(part)) return false;
      node.parts.push_back(std::move(part));
    }
    return true;
  }

  bool repetition(PatternNode& node) {
    int min = 0, max = PatternNode::kUnbounded;
    if (take("?")) {
      max = 1;
    } else if (take("+")) {
      min = 1;
    } else if (take("{")) {
      if (!take_number(min)) return false;
      if (!take(",")) {
        max = min;
      } else if (!rest_.starts_with("}") && !take_number(max)) {
        return false;
      }
      if (!take("}") || std::max(min, max) > kMaxRepetitions) return false;
    } else if (!take("*")) {
      return true;
    }
    const bool lazy = take("?");
    // Possessive, or repeated again. A body that matches nothing is repeated under rules of its own.
    if (rest_.starts_with("+") || rest_.starts_with("*") || rest_.starts_with("?") || matches_empty(node)) {
      return false;
    }
    PatternNode repeat;
    repeat.kind = Kind::kRepeat;
    repeat.min = min;
    repeat.max = max;
    repeat.greedy = !lazy;
    repeat.parts.push_back(std::move(node));
    node = std::move(repeat);
    return true;
  }

  bool atom(PatternNode& node, bool caseless) {
    if (take("(")) return group(node, caseless);
    CharacterSet set;
    if (!one_character(set, caseless)) return false;
    node.kind = Kind::kSet;
    node.set = index_of(std::move(set));
    return true;
  }

  bool group(PatternNode& node, bool caseless) {
    if (++depth_ > kMaxDepth) return false;
    bool known = false;
    if (rest_.starts_with("?=") || rest_.starts_with("?!")) {
      known = following(node, caseless);
    } else if (take("?i:")) {
      known = choice(node, true);
    } else {
      known = (take("?:") || (!rest_.starts_with("?") && !rest_.starts_with("*"))) && choice(node, caseless);
    }
    --depth_;
    return known && take(")");
  }

  bool following(PatternNode& node, bool caseless) {
    node.kind = Kind::kFollows;
    node.negative = rest_[1] == '!';
    rest_.remove_prefix(2);
    CharacterSet set;
    if (rest_.empty() || !one_character(set, caseless)) return false;
    node.set = index_of(std::move(set));
    return true;
  }

  bool one_character(CharacterSet& set, bool caseless) {
    const std::string_view before = rest_;
    bool literal = false;
    if (take("[")) {
      if (!bracket(set)) return false;
    } else if (std::string_view(".^$*+?{").find(rest_[0]) != std::string_view::npos ||
               !member(set, literal)) {
      return false;
    }
    set.source = before.substr(0, before.size() - rest_.size());
    if (!caseless) return true;
    return literal && fold(set);
  }

  // A letter of ASCII, in either case, and the two characters elsewhere that fold to one.
  static bool fold(CharacterSet& set) {
    const char32_t character = set.named[0].first;
    if (character >= 0x80) return false;
    if (!is_ascii_letter(character)) return true;
    set.source = "(?i:" + set.source + ")";
    set.named.emplace_back(character ^ 0x20, character ^ 0x20);
    if ((character | 0x20) == 's') set.named.emplace_back(0x17F, 0x17F);
    if ((character | 0x20) == 'k') set.named.emplace_back(0x212A, 0x212A);
    return true;
  }

  bool bracket(CharacterSet& set) {
    take("^");
    bool first = true;
    while (first || !take("]")) {
      if (rest_.empty() || rest_[0] == '[') return false;
      bool literal = false;
      if (!member(set, literal)) return false;
      first = false;
      if (!literal || !rest_.starts_with("-") || rest_.starts_with("-]")) continue;
      take("-");
      const char32_t low = set.named.back().first;
      if (rest_.empty() || rest_[0] == '[' || !member(set, literal) || !literal) return false;
      const char32_t high = set.named.back().first;
      set.named.pop_back();
      set.named.back() = {low, high};
    }
    return true;
  }

  // A character, named (literal) or by its category.
  bool member(CharacterSet& set, bool& literal) {
    char32_t character = 0;
    literal = false;
    if (take("\\p{") || take("\\P{")) {
      const size_t close = rest_.find('}');
      if (close == std::string_view::npos ||
          std::ranges::find(kCategories, rest_.substr(0, close)) == kCategories.end()) {
        return false;
      }
      rest_.remove_prefix(close + 1);
      return true;
    }
    if (take("\\")) {
      if (!escaped(character)) return false;
    } else {
      character = take_character();
    }
    literal = true;
    set.named.emplace_back(character, character);
    return true;
  }

  bool escaped(char32_t& character) {
    if (rest_.empty()) return false;
    if (take("x{")) {
      uint32_t number = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number, 16);
      if (error != std::errc{} || number > 0x10FFFF) return false;
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      character = number;
      return take("}");
    }
    constexpr std::string_view kNames = "tnrf", kControls = "\t\n\r\f";
    const size_t control = kNames.find(rest_[0]);
    character = take_character();
    if (control != std::string_view::npos) {
      character = static_cast<uint8_t>(kControls[control]);
      return true;
    }
    const bool digit = character >= '0' && character <= '9';
    return character < 0x80 && !is_ascii_letter(character) && !digit;
  }

  size_t index_of(CharacterSet set) {
    for (size_t i = 0; i < sets_.size(); ++i) {
      if (sets_[i].source == set.source) return i;
    }
    sets_.push_back(std::move(set));
    return sets_.size() - 1;
  }

  std::string_view rest_;
  int depth_ = 0;
  std::vector<CharacterSet> sets_;
};

}  // namespace

std::optional<RegularPattern> parse_regular(std::string_view source) { return Parser(source).run(); }

}  // namespace fathom::text
