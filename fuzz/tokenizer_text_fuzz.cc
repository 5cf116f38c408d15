// Any bytes as text for the bundled byte-level tokenizer: decoding gives the text back, its invalid parts as
// U+FFFD, whole or token by token, and text from outside cannot make a special token.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/incremental_decoder.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using fathom::text::IncrementalDecoder;
using fathom::text::Tokenizer;

const Tokenizer& bundled() {
  static const auto tokenizer = Tokenizer::load(FATHOM_SOURCE_DIR "/data/tokenizer");
  if (!tokenizer.ok()) std::abort();
  return *tokenizer;
}

std::string decode_one_by_one(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  IncrementalDecoder decoder(tokenizer);
  std::string text;
  for (int32_t id : ids) {
    const std::string part = decoder.push(id);
    if (!fathom::text::is_valid_utf8(part)) std::abort();
    text += part;
  }
  return text + decoder.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Tokenizer& tokenizer = bundled();
  const std::string expected = fathom::text::replace_invalid_utf8(text);
  for (bool parse_special : {false, true}) {
    const auto ids = tokenizer.encode(text, {.parse_special = parse_special});
    if (tokenizer.decode(ids) != expected || decode_one_by_one(tokenizer, ids) != expected) std::abort();
    for (int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
      if (!parse_special && tokenizer.is_special(id)) std::abort();
    }
  }
  return 0;
}
