// Decoding ids as they arrive: text is handed out as soon as it is complete UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace fathom::text {

// The pieces returned by push() and finish(), joined, are what Tokenizer::decode() says of all the ids.
class IncrementalDecoder {
 public:
  // `tokenizer` must outlive this. Special tokens that are skipped but for `kept` are no text.
  explicit IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special = false,
                              std::vector<int32_t> kept = {});

  // The text that became complete: possibly empty, always valid UTF-8. Bytes that can no longer become a
  // character are U+FFFD.
  std::string push(int32_t id);

  // What is left, an unfinished character being U+FFFD. The decoder is then as new.
  std::string finish();

  // Whether bytes of an unfinished character are held back.
  bool has_pending() const { return !pending_.empty(); }

 private:
  std::string take_complete(bool final);
  void strip_start();

  const Tokenizer* tokenizer_;
  const TokenBytes* bytes_;
  bool skip_special_;
  std::vector<int32_t> kept_;
  std::string pending_;  // bytes not yet handed out
  bool at_first_token_ = true;
  int32_t strip_left_ = 0;  // how many characters may still be stripped
};

}  // namespace fathom::text
