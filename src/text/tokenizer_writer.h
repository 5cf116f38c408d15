// The files of a trained tokenizer, readable by `tokenizers` and `transformers` too.
#pragma once

#include <string>

#include "base/result.h"
#include "text/bpe_trainer.h"

namespace fathom::text {

// tokenizer.json: byte-level BPE with GPT-2's cutting into words.
std::string tokenizer_json(const TrainedBpe& trained);

// tokenizer_config.json: the first special token, if any, is bos, eos and pad.
std::string tokenizer_config_json(const TrainedBpe& trained);

// Writes both into `folder`, which is made if need be.
Status write_tokenizer(const TrainedBpe& trained, const std::string& folder);

}  // namespace fathom::text
