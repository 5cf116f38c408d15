// What a tokenizer.json says, read and checked: the parts that Tokenizer runs.
#pragma once

#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_bytes.h"

namespace fathom::text {

struct TokenizerParts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::vector<AddedToken> added;  // by ascending id
  DecoderSpec decoder;
  // Put around a text when special tokens are asked for (TemplateProcessing).
  std::vector<int32_t> prefix_ids, suffix_ids;
};

}  // namespace fathom::text
