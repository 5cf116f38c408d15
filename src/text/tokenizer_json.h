// The reader of tokenizer.json (the file format of the `tokenizers` library), for BPE models.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/tokenizer_parts.h"

namespace fathom::text {

// Largest file, in bytes, and longest token or pattern.
inline constexpr size_t kMaxTokenizerJson = size_t{64} << 20;
inline constexpr size_t kMaxTokenLength = size_t{1} << 14;

// Errors name the field, what it holds and what was expected. Models, normalizers, pre-tokenizers, decoders
// and post-processors of a kind that is not known, and fields that are not known in those that are, are
// refused by name (kNotSupported): they would change ids. `truncation` and `padding` are ignored.
Result<TokenizerParts> read_tokenizer_json(std::string_view json);

}  // namespace fathom::text
