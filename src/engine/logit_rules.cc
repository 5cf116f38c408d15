#include "engine/logit_rules.h"

#include <algorithm>

namespace fathom {

namespace {

// Calls visit(id, how often it is there) for each id, once.
template <class Visit>
void for_each_id(std::span<const int32_t> tokens, const Visit& visit) {
  std::vector<int32_t> sorted(tokens.begin(), tokens.end());
  std::ranges::sort(sorted);
  for (size_t begin = 0, end; begin < sorted.size(); begin = end) {
    for (end = begin; end < sorted.size() && sorted[end] == sorted[begin];) ++end;
    visit(sorted[begin], end - begin);
  }
}

}  // namespace

void apply_rules(const LogitRules& rules, std::span<const int32_t> tokens, int64_t prompt,
                 std::span<float> logits) {
  for (const auto& [id, bias] : rules.bias) logits[static_cast<size_t>(id)] += bias;
  if (rules.repetition_penalty != 1) {
    for_each_id(tokens, [&](int32_t id, size_t) {
      float& logit = logits[static_cast<size_t>(id)];
      logit = logit > 0 ? logit / rules.repetition_penalty : logit * rules.repetition_penalty;
    });
  }
  if (rules.presence_penalty != 0 || rules.frequency_penalty != 0) {
    for_each_id(tokens.subspan(static_cast<size_t>(prompt)), [&](int32_t id, size_t count) {
      logits[static_cast<size_t>(id)] -=
          static_cast<float>(count) * rules.frequency_penalty + rules.presence_penalty;
    });
  }
}

}  // namespace fathom
