#include "eval/answers.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "eval/text_rules.h"

namespace fathom::eval {

namespace {

using Pieces = std::vector<std::string>;

// Python's text.split(separator): one piece more than there are separators.
Pieces split(std::string_view text, std::string_view separator) {
  Pieces pieces;
  for (;;) {
    const size_t at = text.find(separator);
    pieces.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return pieces;
    text.remove_prefix(at + separator.size());
  }
}

std::string in_braces(char argument) { return {'{', argument, '}'}; }

// \sqrt3 -> \sqrt{3}
std::string with_braced_roots(const std::string& text) {
  const Pieces pieces = split(text, "\\sqrt");
  std::string out = pieces.front();
  for (size_t i = 1; i < pieces.size(); ++i) {
    const std::string& piece = pieces[i];
    const bool bare = !piece.empty() && piece[0] != '{';
    out += "\\sqrt";
    out += bare ? in_braces(piece[0]) + piece.substr(1) : piece;
  }
  return out;
}

// \frac12 -> \frac{1}{2}, \frac1{72} -> \frac{1}{72}; as it is where an argument is missing.
std::string with_braced_fractions(const std::string& text) {
  const Pieces pieces = split(text, "\\frac");
  std::string out = pieces.front();
  for (size_t i = 1; i < pieces.size(); ++i) {
    const std::string& piece = pieces[i];
    out += "\\frac";
    if (piece.starts_with("{")) {
      out += piece;
      continue;
    }
    if (piece.size() < 2) return text;
    out += in_braces(piece[0]);
    out += piece[1] == '{' ? piece.substr(1) : in_braces(piece[1]) + piece.substr(2);
  }
  return out;
}

// A whole number as Python writes it: no sign but "-", no zeros in front.
bool is_whole(std::string_view text) {
  const std::string_view digits = text.starts_with("-") ? text.substr(1) : text;
  if (digits == "0") return digits.size() == text.size();
  return !digits.empty() && digits[0] != '0' &&
         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
}

// a/b -> \frac{a}{b}
std::string with_written_fraction(const std::string& text) {
  const Pieces parts = split(text, "/");
  if (parts.size() != 2 || !is_whole(parts[0]) || !is_whole(parts[1])) return text;
  return "\\frac{" + parts[0] + "}{" + parts[1] + "}";
}

// A fraction of whole numbers, nothing where they would need more than 64 bits.
struct Fraction {
  int64_t above = 0, below = 1;
};

std::optional<int64_t> whole_number(std::string_view digits) {
  constexpr size_t kMostDigits = 18;
  if (digits.size() > kMostDigits) return std::nullopt;
  int64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// 1,234,567 -> 1234567; as it is where a comma is no separator of thousands.
std::string without_thousands(std::string_view text) {
  const size_t whole = std::min(text.find('.'), text.size());
  for (size_t i = 0; i < whole; ++i) {
    if ((text[i] == ',') != (i > 0 && (whole - i) % 4 == 0)) return std::string(text);
  }
  return replaced(text, ",", "");
}

std::optional<Fraction> decimal_number(std::string_view text) {
  const size_t point = text.find('.');
  const std::string_view after = point == std::string_view::npos ? "" : text.substr(point + 1);
  const auto all = whole_number(std::string(text.substr(0, point)) + std::string(after));
  if (!all || (point != std::string_view::npos && after.empty())) return std::nullopt;
  Fraction number{*all, 1};
  for (size_t i = 0; i < after.size(); ++i) number.below *= 10;
  return number;
}

// Of an answer in plain form: 1,234 or 0.25 or -\frac{1}{4}.
std::optional<Fraction> number_in(std::string_view text) {
  const bool negative = text.starts_with("-");
  if (negative) text.remove_prefix(1);
  constexpr std::string_view kFraction = "\\frac{";
  std::optional<Fraction> number;
  if (text.starts_with(kFraction) && text.ends_with("}")) {
    const size_t middle = text.find("}{");
    if (middle == std::string_view::npos) return std::nullopt;
    const auto above = whole_number(text.substr(kFraction.size(), middle - kFraction.size()));
    const auto below = whole_number(text.substr(middle + 2, text.size() - middle - 3));
    if (!above || !below || *below == 0) return std::nullopt;
    number = Fraction{*above, *below};
  } else if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    number = decimal_number(without_thousands(text));
  }
  if (number && negative) number->above = -number->above;
  return number;
}

}  // namespace

std::optional<std::string> last_boxed(std::string_view text) {
  std::string_view word = "\\boxed";
  size_t at = text.rfind(word);
  if (at == std::string_view::npos) at = text.rfind(word = "\\fbox");
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = text.substr(at + word.size());
  if (rest.starts_with(" ") && stripped(rest).substr(0, 1) != "{")
    return std::string(rest.substr(1, rest.find('$') - 1));
  const size_t open = rest.find_first_not_of(" \n");
  if (open == std::string_view::npos || rest[open] != '{') return std::nullopt;
  int depth = 0;
  for (size_t i = open; i < rest.size(); ++i) {
    depth += rest[i] == '{' ? 1 : (rest[i] == '}' ? -1 : 0);
    if (depth == 0) return std::string(rest.substr(open + 1, i - open - 1));
  }
  return std::nullopt;
}

std::string plain_math(std::string_view answer) {
  using Change = std::pair<std::string_view, std::string_view>;
  std::string text(answer);
  for (const auto& [from, to] : {Change{"\n", ""},
                                 {"\\!", ""},
                                 {"\\\\", "\\"},
                                 {"tfrac", "frac"},
                                 {"dfrac", "frac"},
                                 {"\\left", ""},
                                 {"\\right", ""},
                                 {"^{\\circ}", ""},
                                 {"^\\circ", ""},
                                 {"\\$", ""}})
    text = replaced(text, from, to);
  // Units stand behind the number, as text that begins with a space.
  if (const Pieces parts = split(text, "\\text{ "); parts.size() == 2) text = parts.front();
  for (const auto& [from, to] : {Change{"\\%", ""}, {" .", " 0."}, {"{.", "{0."}})
    text = replaced(text, from, to);
  if (text.starts_with(".")) text = '0' + text;
  if (const Pieces sides = split(text, "="); sides.size() == 2 && sides.front().size() <= 2)
    text = sides.back();
  text = replaced(with_braced_roots(text), " ", "");
  text = with_braced_fractions(text);
  if (text == "0.5") text = "\\frac{1}{2}";
  return with_written_fraction(text);
}

bool same_math(std::string_view a, std::string_view b) {
  const std::string plain_a = plain_math(a), plain_b = plain_math(b);
  if (plain_a == plain_b) return true;
  const std::optional<Fraction> number_a = number_in(plain_a), number_b = number_in(plain_b);
  if (!number_a || !number_b) return false;
  __extension__ using Wide = __int128;
  return Wide{number_a->above} * number_b->below == Wide{number_b->above} * number_a->below;
}

std::optional<char> letter_of(std::string_view answer) {
  std::string text(answer);
  for (const char* wrapper : {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "(", "{", "}", "$"})
    text = replaced(text, wrapper, "");
  text = stripped(text);
  const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  if (text.empty() || text[0] < 'A' || text[0] > 'Z' || (text.size() > 1 && is_letter(text[1])))
    return std::nullopt;
  return text[0];
}

bool is_right(AnswerRule rule, std::string_view written, std::string_view reference) {
  if (rule == AnswerRule::kFirstLine) return stripped(written.substr(0, written.find('\n'))) == reference;
  const std::optional<std::string> boxed = last_boxed(written);
  if (!boxed) return false;
  if (rule == AnswerRule::kMath) return same_math(*boxed, reference);
  FATHOM_CHECK(rule == AnswerRule::kLetter, "no rule for an answer");
  const std::optional<char> letter = letter_of(*boxed);
  return letter && letter == letter_of(reference);
}

}  // namespace fathom::eval
