// Any bytes as a tokenizer.json. What is accepted must encode and decode without a fault, and give valid
// text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/incremental_decoder.h"
#include "text/text_refused.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using fathom::text::IncrementalDecoder;
using fathom::text::Tokenizer;

void use(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, {.add_special_tokens = true});
  const std::string whole = tokenizer.decode(ids);
  if (!fathom::text::is_valid_utf8(whole)) std::abort();
  IncrementalDecoder decoder(tokenizer);
  std::string joined;
  for (int32_t id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    joined += decoder.push(id);
  }
  if (joined + decoder.finish() != whole) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::from_json(bytes);
  if (!tokenizer.ok()) {
    if (tokenizer.error().message.empty()) std::abort();
    return 0;
  }
  try {
    use(*tokenizer, "Hello, it's 42  cats\n\n\xED\x95\x9C\xEA\xB8\x80 e\xCC\x81 \xFF");
    use(*tokenizer, bytes.substr(0, 500));
  } catch (const fathom::text::TextRefused& refused) {
    // The patterns of the file may take more steps than a text of this length may; that ends the call, not
    // the process.
    if (*refused.what() == '\0') std::abort();
  }
  return 0;
}
