// Guesses of what comes next in a text, from the text itself: what followed when its last tokens were there
// before (prompt lookup). A guess costs nothing, and the model checks several of them in one pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

struct NgramDraft {
  static constexpr int64_t kShortest = 2;  // tokens that have to be alike
  static constexpr int64_t kLongest = 16;  // more are not looked at
};

// Appends to `tokens` the `most` tokens that followed the place where the longest run of its last tokens was
// before, the latest of several, as if the text repeated itself from there on; returns how many, 0 if there
// is no such place. In time linear in the tokens.
int64_t append_ngram_draft(std::vector<int32_t>& tokens, int64_t most);

// How many tokens to guess next: more while guesses come true.
class DraftLength {
 public:
  explicit DraftLength(int64_t most) : most_(most), next_(most) {}
  int64_t next() const { return next_; }
  // Of `drafted` guesses, at least one, the first `accepted` came true.
  void note(int64_t drafted, int64_t accepted);

 private:
  int64_t most_, next_;
};

}  // namespace fathom
