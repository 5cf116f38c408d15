#include "text/pair_counts.h"

#include <algorithm>

namespace fathom::text {

PairCounts::PairCounts(std::vector<Word> words, const std::vector<std::string>& tokens)
    : words_(std::move(words)), tokens_(tokens) {
  for (uint32_t word = 0; word < words_.size(); ++word) count_pairs(word, 1);
  changed_.clear();
  for (const auto& [pair, occurrences] : pairs_) push(pair, occurrences.count);
}

bool PairCounts::worse(const Candidate& a, const Candidate& b) const {
  if (a.count != b.count) return a.count < b.count;
  const int left = tokens_[left_of(a.pair)].compare(tokens_[left_of(b.pair)]);
  if (left != 0) return left < 0;
  return tokens_[right_of(a.pair)] < tokens_[right_of(b.pair)];
}

void PairCounts::push(uint64_t pair, int64_t count) {
  heap_.push_back({count, pair});
  std::ranges::push_heap(heap_, [this](const Candidate& a, const Candidate& b) { return worse(a, b); });
}

void PairCounts::count_pairs(uint32_t word, int sign) {
  const Word& at = words_[word];
  for (size_t i = 0; i + 1 < at.ids.size(); ++i) {
    const uint64_t key = key_of(at.ids[i], at.ids[i + 1]);
    Occurrences& pair = pairs_[key];
    pair.count += sign * at.count;
    if (sign > 0 && (pair.words.empty() || pair.words.back() != word)) pair.words.push_back(word);
    changed_.push_back(key);
  }
}

PairCounts::Pair PairCounts::best() {
  while (!heap_.empty()) {
    std::ranges::pop_heap(heap_, [this](const Candidate& a, const Candidate& b) { return worse(a, b); });
    const Candidate top = heap_.back();
    heap_.pop_back();
    // Counts change without the heap being told, except that the pair is pushed again with its new count.
    const auto found = pairs_.find(top.pair);
    if (found != pairs_.end() && found->second.count == top.count && top.count > 0) {
      return {left_of(top.pair), right_of(top.pair), top.count};
    }
  }
  return {};
}

void PairCounts::merge(int32_t left, int32_t right, int32_t merged) {
  const auto found = pairs_.find(key_of(left, right));
  if (found == pairs_.end()) return;
  const std::vector<uint32_t> where = std::move(found->second.words);
  found->second.words.clear();
  changed_.clear();
  for (uint32_t word : where) {
    std::vector<int32_t>& ids = words_[word].ids;
    const auto is_pair = [&](size_t i) {
      return i + 1 < ids.size() && ids[i] == left && ids[i + 1] == right;
    };
    size_t first = 0;
    while (first + 1 < ids.size() && !is_pair(first)) ++first;
    if (!is_pair(first)) continue;  // an earlier merge took it away
    count_pairs(word, -1);
    size_t to = first;
    for (size_t from = first; from < ids.size(); ++to) {
      const bool hit = is_pair(from);
      ids[to] = hit ? merged : ids[from];
      from += hit ? 2 : 1;
    }
    ids.resize(to);
    count_pairs(word, 1);
  }
  std::ranges::sort(changed_);
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  for (uint64_t key : changed_) {
    const auto pair = pairs_.find(key);
    if (pair->second.count > 0) {
      push(key, pair->second.count);
    } else {
      pairs_.erase(pair);
    }
  }
}

}  // namespace fathom::text
