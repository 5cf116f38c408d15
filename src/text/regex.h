// A compiled pattern (PCRE2 with its JIT). Immutable, so threads may share it; what a search needs to write
// lies in a MatchScratch, one per thread.
#pragma once

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
  MatchScratch();
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

class Regex {
 public:
  // `pattern` in the dialect of tokenizer.json (pattern_dialect.h).
  static Result<Regex> compile(std::string_view pattern);
  // A pattern that matches exactly `text`.
  static Result<Regex> literal(std::string_view text);

  // All matches, left to right, not overlapping; an empty match directly after another match is passed over.
  // `text` must be valid UTF-8. Throws CheckFailure when the pattern needs more backtracking than PCRE2's
  // limit.
  std::vector<Range> find_all(std::string_view text, MatchScratch& scratch) const;

  // The pattern as PCRE2 has it.
  const std::string& source() const { return source_; }

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex(pcre2_real_code_8* code, std::string source, std::string pattern)
      : code_(code), source_(std::move(source)), pattern_(std::move(pattern)) {}
  static Result<Regex> compile_pcre2(const std::string& source, std::string_view shown);
  bool search(std::string_view text, size_t from, MatchScratch& scratch, Range& match) const;

  std::unique_ptr<pcre2_real_code_8, Free> code_;
  std::string source_, pattern_;
};

}  // namespace fathom::text
