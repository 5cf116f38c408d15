#include "text/pre_tokenizer.h"

#include <algorithm>

#include "text/byte_alphabet.h"

namespace fathom::text {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

using Pieces = std::vector<std::string_view>;
using Storage = PreTokenizer::Storage;

struct Part {
  Range range;
  bool is_match = false;
};

// The whole piece as matches and gaps in turn.
std::vector<Part> parts_of(const SplitStep& step, std::string_view piece, MatchScratch& scratch) {
  std::vector<Part> parts;
  size_t done = 0;
  for (const Range& match : step.pattern->find_all(piece, scratch)) {
    if (done < match.begin) parts.push_back({{done, match.begin}, step.invert});
    parts.push_back({match, !step.invert});
    done = match.end;
  }
  if (done < piece.size()) parts.push_back({{done, piece.size()}, step.invert});
  return parts;
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

Pieces run(const SplitStep& step, const Pieces& pieces, bool, MatchScratch& scratch, Storage&) {
  Pieces out;
  for (std::string_view piece : pieces) {
    std::vector<Part> parts = parts_of(step, piece, scratch);
    if (step.behavior == SplitBehavior::kMergedWithPrevious) merge_with_previous(parts);
    if (step.behavior == SplitBehavior::kMergedWithNext) merge_with_next(parts);
    if (step.behavior == SplitBehavior::kContiguous) merge_runs(parts);
    for (const Part& part : parts) {
      if (step.behavior == SplitBehavior::kRemoved && part.is_match) continue;
      if (part.range.begin < part.range.end) {
        out.push_back(piece.substr(part.range.begin, part.range.end - part.range.begin));
      }
    }
  }
  return out;
}

Pieces run(const PrefixStep& step, Pieces pieces, bool starts_text, MatchScratch&, Storage& storage) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].starts_with(step.prefix) || (step.only_first && !(i == 0 && starts_text))) continue;
    pieces[i] = storage.emplace_back(step.prefix + std::string(pieces[i]));
  }
  return pieces;
}

Pieces run(const ReplaceStep& step, Pieces pieces, bool, MatchScratch&, Storage& storage) {
  for (std::string_view& piece : pieces) {
    if (piece.find(step.from) == std::string_view::npos) continue;
    std::string changed;
    size_t done = 0;
    for (size_t at; (at = piece.find(step.from, done)) != std::string_view::npos;
         done = at + step.from.size()) {
      (changed += piece.substr(done, at - done)) += step.to;
    }
    changed += piece.substr(done);
    piece = storage.emplace_back(std::move(changed));
  }
  return pieces;
}

Pieces run(const ByteMapStep&, Pieces pieces, bool, MatchScratch&, Storage& storage) {
  for (std::string_view& piece : pieces) piece = storage.emplace_back(to_byte_characters(piece));
  return pieces;
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {
  maps_bytes_ = !steps_.empty() && std::holds_alternative<ByteMapStep>(steps_.back());
  if (maps_bytes_) steps_.pop_back();
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text, bool starts_text,
                                                  MatchScratch& scratch, Storage& storage) const {
  Pieces pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const PreTokenizerStep& step : steps_) {
    pieces = std::visit(
        [&](const auto& chosen) { return run(chosen, std::move(pieces), starts_text, scratch, storage); },
        step);
  }
  return pieces;
}

}  // namespace fathom::text
