#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "base/check.h"
#include "text/text_refused.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom::text {

namespace {

// What the steps of one text have in common.
struct Run {
  MatchScratch& scratch;
  size_t text_bytes, most_bytes;  // of the text as it was given, and of what is made of it
};

void check_growth(size_t bytes, const Run& shared) {
  if (bytes <= shared.most_bytes) return;
  throw TextRefused("the tokenizer's normalizer makes " + std::to_string(bytes) + " bytes of a text of " +
                    std::to_string(shared.text_bytes) + ", expected at most " +
                    std::to_string(shared.most_bytes));
}

std::string run(UnicodeForm form, const std::string& text, const Run&) {
  int options = UTF8PROC_STABLE;
  const bool composed = form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc;
  options |= composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* buffer = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &buffer,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(buffer, &std::free);
  FATHOM_CHECK(size >= 0, std::string("Unicode normalisation: ") + utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(buffer), static_cast<size_t>(size)};
}

// Character by character, so without the context rule for a final sigma, as `tokenizers` does.
std::string run(Lowercase, const std::string& text, const Run&) {
  constexpr char32_t kCapitalIWithDot = 0x130;  // the only character whose lower case is two
  std::string out;
  out.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Unit unit = next_unit(rest);
    rest.remove_prefix(unit.size);
    if (unit.character == kCapitalIWithDot) {
      out += "i\xCC\x87";
    } else {
      append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(unit.character))),
                  out);
    }
  }
  return out;
}

std::string run(const Replace& step, const std::string& text, const Run& shared) {
  std::string out;
  size_t done = 0;
  for (const Range& match : step.pattern->find_all(text, shared.scratch)) {
    out.append(text, done, match.begin - done);
    out += step.content;
    check_growth(out.size(), shared);
    done = match.end;
  }
  out.append(text, done);
  return out;
}

std::string run(const Prepend& step, const std::string& text, const Run&) {
  return text.empty() ? text : step.content + text;
}

std::string run(const StripSpace& step, const std::string& text, const Run&) {
  std::string_view rest = text;
  if (step.left) rest.remove_prefix(leading_white_space(rest));
  if (step.right) rest.remove_suffix(trailing_white_space(rest));
  return std::string(rest);
}

}  // namespace

std::string Normalizer::apply(std::string_view text, MatchScratch& scratch) const {
  const Run shared = {scratch, text.size(), kMaxGrowth * (text.size() + 1024)};
  std::string out(text);
  for (const NormalizerStep& step : steps_) {
    out = std::visit([&](const auto& chosen) { return run(chosen, out, shared); }, step);
    check_growth(out.size(), shared);
  }
  return out;
}

}  // namespace fathom::text
