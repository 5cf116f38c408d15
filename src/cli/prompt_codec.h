// The tokenizer and the chat template of a model, as tasks whose answers are written need them.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/loaded_model.h"
#include "eval/written.h"

namespace fathom::cli {

// Texts are read without special tokens around them; messages (`chat`) in the model's chat template, or in
// the one that is named, or as text with "none". The model outlives the codec. Errors: a model without a
// template, an unknown name.
Result<eval::PromptCodec> prompt_codec_of(const LoadedModel& model, bool chat, const std::string& named);

}  // namespace fathom::cli
