#include "text/pre_tokenizer.h"

#include <algorithm>
#include <set>

#include "text/byte_alphabet.h"
#include "text/find_text.h"

namespace fathom::text {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

struct Part {
  Range range;
  bool is_match = false;
};

// The whole piece as matches and gaps in turn.
template <class Visit>
void for_each_part(const SplitStep& step, std::string_view piece, MatchScratch& scratch, const Visit& visit) {
  size_t done = 0;
  step.pattern.for_each_match(piece, scratch, [&](const Range& match) {
    if (done < match.begin) visit(Part{{done, match.begin}, step.invert});
    visit(Part{match, !step.invert});
    done = match.end;
  });
  if (done < piece.size()) visit(Part{{done, piece.size()}, step.invert});
}

// A match directly after a match stays alone, whichever side matches go to.
void merge_with_previous(std::vector<Part>& parts) {
  std::vector<Part> out;
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.is_match && !after_match && !out.empty()) {
      out.back().range.end = part.range.end;
    } else {
      out.push_back(part);
    }
    after_match = part.is_match;
  }
  parts = std::move(out);
}

void merge_with_next(std::vector<Part>& parts) {
  std::vector<Part> out;  // backwards
  bool before_match = false;
  for (size_t i = parts.size(); i-- > 0;) {
    const Part& part = parts[i];
    if (part.is_match && !before_match && !out.empty()) {
      out.back().range.begin = part.range.begin;
    } else {
      out.push_back(part);
    }
    before_match = part.is_match;
  }
  std::ranges::reverse(out);
  parts = std::move(out);
}

void merge_runs(std::vector<Part>& parts) {
  std::vector<Part> out;
  for (const Part& part : parts) {
    if (!out.empty() && out.back().is_match == part.is_match) {
      out.back().range.end = part.range.end;
    } else {
      out.push_back(part);
    }
  }
  parts = std::move(out);
}

}  // namespace

// One text on its way through the steps.
class PreTokenizer::Walk {
 public:
  Walk(const std::vector<PreTokenizerStep>& steps, bool starts_text, MatchScratch& scratch, Visit visit)
      : steps_(steps), starts_text_(starts_text), scratch_(scratch), visit_(visit) {}

  // Hands `piece` to the step of that number and what comes out of it to the next.
  void enter(size_t number, std::string_view piece) {
    if (number == steps_.size()) {
      visit_(piece);
    } else {
      std::visit([&](const auto& step) { run(step, number, piece); }, steps_[number]);
    }
  }

 private:
  void run(const SplitStep& step, size_t number, std::string_view piece) {
    const auto pass_on = [&](const Part& part) {
      if (step.behavior == SplitBehavior::kRemoved && part.is_match) return;
      if (part.range.begin == part.range.end) return;
      enter(number + 1, piece.substr(part.range.begin, part.range.end - part.range.begin));
    };
    if (step.behavior == SplitBehavior::kIsolated || step.behavior == SplitBehavior::kRemoved) {
      for_each_part(step, piece, scratch_, pass_on);
      return;
    }
    std::vector<Part> parts;
    for_each_part(step, piece, scratch_, [&](const Part& part) { parts.push_back(part); });
    if (step.behavior == SplitBehavior::kMergedWithPrevious) merge_with_previous(parts);
    if (step.behavior == SplitBehavior::kMergedWithNext) merge_with_next(parts);
    if (step.behavior == SplitBehavior::kContiguous) merge_runs(parts);
    for (const Part& part : parts) pass_on(part);
  }

  void run(const PrefixStep& step, size_t number, std::string_view piece) {
    const bool is_first = starts_text_ && prefixed_.insert(number).second;
    if (piece.starts_with(step.prefix) || (step.only_first && !is_first)) {
      enter(number + 1, piece);
    } else {
      enter(number + 1, step.prefix + std::string(piece));
    }
  }

  void run(const ReplaceStep& step, size_t number, std::string_view piece) {
    if (piece.find(step.from) == std::string_view::npos) return enter(number + 1, piece);
    std::string changed;
    size_t done = 0;
    for (size_t at; (at = find_text(piece, step.from, done)) != std::string_view::npos;
         done = at + step.from.size()) {
      (changed += piece.substr(done, at - done)) += step.to;
    }
    enter(number + 1, changed += piece.substr(done));
  }

  void run(const ByteMapStep&, size_t number, std::string_view piece) {
    enter(number + 1, to_byte_characters(piece));
  }

  const std::vector<PreTokenizerStep>& steps_;
  const bool starts_text_;
  MatchScratch& scratch_;
  const Visit visit_;
  std::set<size_t> prefixed_;  // numbers of the prefix steps that have seen a piece
};

PreTokenizer::PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {
  maps_bytes_ = !steps_.empty() && std::holds_alternative<ByteMapStep>(steps_.back());
  if (maps_bytes_) steps_.pop_back();
}

void PreTokenizer::split(std::string_view text, bool starts_text, MatchScratch& scratch, Visit visit) const {
  if (!text.empty()) Walk(steps_, starts_text, scratch, visit).enter(0, text);
}

}  // namespace fathom::text
