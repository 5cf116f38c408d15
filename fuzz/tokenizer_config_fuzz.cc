// Any bytes as a tokenizer_config.json: the roles of special tokens, and the chat template.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "text/chat_template.h"
#include "text/special_tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace text = fathom::text;
  const std::string_view config(reinterpret_cast<const char*>(data), size);
  constexpr int32_t kTokens = 16;
  // A token's id is its length.
  const auto id_of = [](std::string_view token) {
    return token.size() < kTokens ? std::optional(static_cast<int32_t>(token.size())) : std::nullopt;
  };
  text::SpecialIds ids;
  const fathom::Status added = text::add_special_ids(config, id_of, ids);
  if (!added.ok() && added.error().message.empty()) std::abort();
  for (const auto& id : {ids.bos, ids.eos, ids.pad, ids.unk}) {
    if (id && (*id < 0 || *id >= kTokens)) std::abort();
  }
  const auto jinja = text::ChatTemplate::jinja_in(config);
  if (!jinja.ok() && jinja.error().message.empty()) std::abort();
  if (!jinja.ok()) return 0;
  const auto form = text::ChatTemplate::of_jinja(*jinja, "<s>");
  if (!form.ok() && form.error().message.empty()) std::abort();
  return 0;
}
