#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/check.h"
#include "base/sentence.h"
#include "text/find_text.h"
#include "text/pattern_dialect.h"
#include "text/text_refused.h"
#include "text/utf8.h"

namespace fathom::text {

namespace {

constexpr size_t kPatternLimit = 1 << 16;
constexpr size_t kJitStackFirst = 32 << 10;
constexpr size_t kJitStackLast = 8 << 20;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

Status check_size(std::string_view pattern) {
  if (pattern.size() <= kPatternLimit) return {};
  return invalid("pattern of " + std::to_string(pattern.size()) + " bytes exceeds the limit of " +
                 std::to_string(kPatternLimit));
}

}  // namespace

MatchScratch::MatchScratch()
    : data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(kJitStackFirst, kJitStackLast, nullptr)) {
  FATHOM_CHECK(data_ != nullptr && context_ != nullptr, "no memory for matching");
  if (stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
  // PCRE2 calls this before each part of a pattern, and at its end. What it read since then, of a run of
  // characters say, is where it stands now; going back costs nothing.
  const auto count = [](pcre2_callout_block* block, void* data) {
    auto& scratch = *static_cast<MatchScratch*>(data);
    const size_t at = block->current_position;
    const size_t read = at - std::min(at, scratch.reached_);
    scratch.reached_ = at;
    return scratch.spend(1 + read) ? 0 : PCRE2_ERROR_CALLOUT;
  };
  pcre2_set_callout(context_, count, this);
}

MatchScratch::~MatchScratch() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

void MatchScratch::begin_text(size_t bytes) {
  text_bytes_ = bytes;
  left_ = kStepsPerText + kStepsPerByte * bytes;
}

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Result<Regex> Regex::compile(std::string_view pattern) {
  FATHOM_TRY(check_size(pattern));
  if (!is_valid_utf8(pattern)) return invalid("pattern is not UTF-8");
  FATHOM_ASSIGN(std::string source, to_pcre2_pattern(pattern));
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  FATHOM_CHECK(context != nullptr, "no memory for a pattern");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  // ^ and $ match at every line in Oniguruma's Ruby syntax.
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
                    &code, &offset, context.get());
  if (compiled == nullptr) {
    return invalid("pattern \"" + std::string(pattern) + "\" does not compile: " + message_of(code));
  }
  // Without a JIT for this processor PCRE2 interprets the pattern: slower, same matches.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Regex(compiled, std::move(source), std::string(pattern));
}

Result<Regex> Regex::literal(std::string_view text) {
  FATHOM_CHECK(!text.empty(), "a pattern that matches nothing everywhere");
  FATHOM_TRY(check_size(text));
  std::string source;
  for (char c : text) {
    if (std::string_view(R"(\^$.[]|()?*+{}-#&~ )").find(c) != std::string_view::npos) source += '\\';
    source += c;
  }
  return Regex(nullptr, std::move(source), std::string(text));
}

void Regex::refuse_text(const MatchScratch& scratch) const {
  const uint64_t most =
      MatchScratch::kStepsPerText + MatchScratch::kStepsPerByte * uint64_t{scratch.text_bytes_};
  throw TextRefused("the tokenizer's pattern " + in_quotes(pattern_) + " takes more than the " +
                    std::to_string(most) + " steps that a text of " + std::to_string(scratch.text_bytes_) +
                    " bytes may take");
}

bool Regex::search(std::string_view text, size_t from, MatchScratch& scratch, Range& match) const {
  scratch.reached_ = from;
  // PCRE2's own limit is of one search, and on steps of another size.
  pcre2_set_match_limit(scratch.context_,
                        static_cast<uint32_t>(std::min<uint64_t>(scratch.left_, UINT32_MAX)));
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, scratch.data_, scratch.context_);
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found == PCRE2_ERROR_CALLOUT || found == PCRE2_ERROR_MATCHLIMIT) refuse_text(scratch);
  if (found < 0) {
    throw TextRefused("the tokenizer's pattern " + in_quotes(pattern_) + " fails on a text of " +
                      std::to_string(text.size()) + " bytes: " + message_of(found));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data_);
  match = {bounds[0], bounds[1]};
  return true;
}

std::vector<Range> Regex::find_all_literal(std::string_view text) const {
  std::vector<Range> matches;
  for (size_t at = 0; (at = find_text(text, pattern_, at)) != std::string_view::npos;) {
    matches.push_back({at, at + pattern_.size()});
    at += pattern_.size();
  }
  return matches;
}

std::vector<Range> Regex::find_all(std::string_view text, MatchScratch& scratch) const {
  if (code_ == nullptr) return find_all_literal(text);
  std::vector<Range> matches;
  size_t from = 0;
  Range match;
  while (from <= text.size() && search(text, from, scratch, match)) {
    const bool empty = match.begin >= match.end;
    if (!empty || matches.empty() || matches.back().end != match.end) matches.push_back(match);
    from = match.end;
    if (empty) from += from < text.size() ? next_unit(text.substr(from)).size : 1;
  }
  return matches;
}

}  // namespace fathom::text
