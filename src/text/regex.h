// A compiled pattern (PCRE2 with its JIT). Immutable, so threads may share it; what a search needs to write
// lies in a MatchScratch, one per thread, and so does what it may still take: a pattern from outside can need
// any power of the text's length, so the steps of all searches of a text are counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace fathom::text {

struct Range {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Range&) const = default;
};

class MatchScratch {
 public:
  // What the searches of one text may take together. A step is a byte that a pattern reads, as often as it
  // reads it, or a part of a pattern that is tried at a place. Published patterns take up to 6 a byte.
  static constexpr uint64_t kStepsPerByte = 256, kStepsPerText = uint64_t{1} << 22;

  MatchScratch();
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  // The searches from here on are those of one text of that size, and have its steps. Before the first call
  // there is no limit.
  void begin_text(size_t bytes);
  // Takes steps from those that are left. False, from then on, when they are used up.
  bool spend(uint64_t steps) {
    left_ = steps < left_ ? left_ - steps : 0;
    return left_ > 0;
  }
  bool is_spent() const { return left_ == 0; }

 private:
  friend class Regex;
  size_t text_bytes_ = 0;
  uint64_t left_ = UINT64_MAX;
  size_t reached_ = 0;  // of the text, when PCRE2 came to a part of its pattern last
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

class Regex {
 public:
  // `pattern` in the dialect of tokenizer.json (pattern_dialect.h).
  static Result<Regex> compile(std::string_view pattern);
  // A pattern that matches exactly `text`, which is not empty.
  static Result<Regex> literal(std::string_view text);

  // All matches, left to right, not overlapping; an empty match directly after another match is passed over.
  // `text` must be valid UTF-8. Throws TextRefused when the search takes more steps than `scratch` has left,
  // or more memory than PCRE2 allows. What one part of a pattern reads without coming to the next is no step:
  // of `a{n}` fewer than n characters, and n is at most 65535.
  std::vector<Range> find_all(std::string_view text, MatchScratch& scratch) const;

  // Throws the TextRefused of a search with this pattern that has used up the steps of its text.
  [[noreturn]] void refuse_text(const MatchScratch& scratch) const;

  // The pattern as PCRE2 has it.
  const std::string& source() const { return source_; }

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex(pcre2_real_code_8* code, std::string source, std::string pattern)
      : code_(code), source_(std::move(source)), pattern_(std::move(pattern)) {}
  bool search(std::string_view text, size_t from, MatchScratch& scratch, Range& match) const;
  std::vector<Range> find_all_literal(std::string_view text) const;

  std::unique_ptr<pcre2_real_code_8, Free> code_;  // null for a literal, which needs no PCRE2
  std::string source_, pattern_;
};

}  // namespace fathom::text
