// Roles of special tokens, from the files beside a tokenizer.json.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer.h"

namespace fathom::text {

// The id of a token, if it is one.
using IdOfToken = std::function<std::optional<int32_t>(std::string_view)>;

// Reads `bos_token`, `eos_token`, `pad_token` and `unk_token` from tokenizer_config.json in `folder`; those
// it lacks, from special_tokens_map.json. Either file may be absent. A value is the token, or an object with
// its `content`, or null or empty where the role has none. A padding or unknown token without id has none
// either. Error: a first or last token without id.
Result<SpecialIds> read_special_ids(const std::string& folder, const IdOfToken& id_of);

// The first id that ends a text of the model in `folder`: `eos_token_id` of its generation_config.json, else
// of its config.json. Either file may be absent.
Result<std::optional<int32_t>> read_model_end(const std::string& folder);

// The token that those files call `bos_token`; empty if none.
Result<std::string> read_first_token(const std::string& folder);

// Adds to `ids` the roles they lack and that the content of one of those files gives.
Status add_special_ids(std::string_view config, const IdOfToken& id_of, SpecialIds& ids);

}  // namespace fathom::text
