#include "cli/chat/reasoning_splitter.h"

#include <algorithm>
#include <string_view>

namespace fathom::cli::chat {

namespace {

constexpr char kSpace[] = " \t\r\n";

// Bytes at the end of `text` that a tag may begin with.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(tag.size() - 1, text.size()); n > 0; --n) {
    if (text.ends_with(tag.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

std::vector<AnswerPart> ReasoningSplitter::push(const std::string& text) {
  held_ += text;
  std::vector<AnswerPart> out;
  advance(false, out);
  return out;
}

std::vector<AnswerPart> ReasoningSplitter::finish() {
  std::vector<AnswerPart> out;
  advance(true, out);
  return out;
}

void ReasoningSplitter::advance(bool at_end, std::vector<AnswerPart>& out) {
  const auto give = [&](std::string text, bool reasoning) {
    if (fresh_) text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) return;
    fresh_ = false;
    out.push_back({std::move(text), reasoning});
  };
  if (where_ == Where::kStart) {
    const size_t first = held_.find_first_not_of(kSpace);
    const std::string_view rest = first == std::string::npos ? "" : std::string_view(held_).substr(first);
    const std::string_view tag = kOpen;
    if (rest.starts_with(tag)) {
      held_.erase(0, first + tag.size());
      where_ = Where::kReasoning;
    } else if (tag.starts_with(rest) && !at_end) {
      return;
    } else {
      where_ = Where::kAnswer;
      fresh_ = false;  // no tag: the text as it is
    }
  }
  if (where_ == Where::kReasoning) {
    const size_t close = held_.find(kClose);
    if (close == std::string::npos) {
      // White space before the tag is left out, too.
      size_t keep = at_end ? 0 : begun(held_, kClose);
      const size_t last = std::string_view(held_).substr(0, held_.size() - keep).find_last_not_of(kSpace);
      if (!at_end) keep = held_.size() - (last == std::string::npos ? 0 : last + 1);
      give(held_.substr(0, held_.size() - keep), true);
      held_.erase(0, held_.size() - keep);
      return;
    }
    std::string text = held_.substr(0, close);
    const size_t last = text.find_last_not_of(kSpace);
    text.erase(last == std::string::npos ? 0 : last + 1);
    give(std::move(text), true);
    held_.erase(0, close + std::string_view(kClose).size());
    where_ = Where::kAnswer;
    fresh_ = true;
  }
  std::string text;
  std::swap(text, held_);
  give(std::move(text), false);
}

}  // namespace fathom::cli::chat
