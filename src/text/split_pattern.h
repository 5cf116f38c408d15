// A pattern that cuts text. Patterns of the usual kind run as an automaton, others in PCRE2; both find the
// same.
#pragma once

#include <memory>
#include <string_view>

#include "text/pattern_automaton.h"
#include "text/regex.h"

namespace fathom::text {

class SplitPattern {
 public:
  explicit SplitPattern(Regex regex)
      : regex_(std::make_shared<const Regex>(std::move(regex))),
        automaton_(PatternAutomaton::create(regex_->source())) {}

  // Calls `visit` with all matches as Regex::find_all lists them, and under its conditions.
  template <class Visit>
  void for_each_match(std::string_view text, MatchScratch& scratch, const Visit& visit) const {
    if (automaton_ == nullptr) {
      for (const Range& match : regex_->find_all(text, scratch)) visit(match);
      return;
    }
    const char* const start = text.data();
    const char* const end = start + text.size();
    const char* begin = nullptr;
    for (const char* at = start; (at = automaton_->find(at, end, begin, scratch)) != nullptr;) {
      visit(Range{static_cast<size_t>(begin - start), static_cast<size_t>(at - start)});
    }
    if (scratch.is_spent()) regex_->refuse_text(scratch);
  }

  // Null if the pattern needs PCRE2.
  const PatternAutomaton* automaton() const { return automaton_.get(); }

 private:
  std::shared_ptr<const Regex> regex_;
  std::shared_ptr<const PatternAutomaton> automaton_;
};

}  // namespace fathom::text
