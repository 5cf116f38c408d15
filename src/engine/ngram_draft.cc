#include "engine/ngram_draft.h"

#include <algorithm>

namespace fathom {

int64_t append_ngram_draft(std::vector<int32_t>& tokens, int64_t most) {
  const auto size = static_cast<int64_t>(tokens.size());
  const int32_t* const text = tokens.data();
  int64_t best = 0, from = 0;  // length of the run, and where what followed it begins
  for (int64_t end = size - 1; end > 0 && best < NgramDraft::kLongest; --end) {
    if (text[end - 1] != text[size - 1]) continue;
    int64_t alike = 1;
    while (alike < std::min(end, NgramDraft::kLongest) && text[end - 1 - alike] == text[size - 1 - alike])
      ++alike;
    if (alike > best) {
      best = alike;
      from = end;
    }
  }
  if (best < NgramDraft::kShortest) return 0;
  tokens.reserve(tokens.size() + static_cast<size_t>(most));
  // Beyond the end the guesses themselves are what followed: the text repeats itself.
  for (int64_t i = 0; i < most; ++i) tokens.push_back(tokens[static_cast<size_t>(from + i)]);
  return most;
}

void DraftLength::note(int64_t drafted, int64_t accepted) {
  next_ =
      accepted == drafted ? std::min(most_, 2 * std::max(next_, drafted)) : std::max<int64_t>(1, accepted);
}

}  // namespace fathom
