// The files of byte-level tokenizers from before tokenizer.json.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom::text {

// Whether the folder has vocab.json and merges.txt.
bool has_older_files(const std::string& folder);

// The content of a tokenizer.json that says what those files do, read as the class GPT2Tokenizer does: pieces
// by its pattern, added tokens from added_tokens.json and from added_tokens_decoder of tokenizer_config.json;
// special are those of which the latter says so, that a role of tokenizer_config.json or
// special_tokens_map.json names, and <|endoftext|>. Errors name the file; another tokenizer_class has other
// rules and is not supported.
Result<std::string> older_files_as_json(const std::string& folder);

}  // namespace fathom::text
