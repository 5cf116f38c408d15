// The body of an answer: an OpenAI "text_completion" or "chat.completion" object.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "cli/batch/completion_request.h"
#include "cli/batch/completion_text.h"
#include "cli/text_codec.h"

namespace fathom::cli::batch {

struct CompletionIdentity {
  std::string id;       // without "cmpl-" or "chatcmpl-"
  int64_t created = 0;  // seconds since 1970
  std::string model, system_fingerprint;
};

// `texts` are those of prompt p and sample s at p * n + s; `prompt_tokens` those of all prompts, each once.
nlohmann::ordered_json completion_body(const CompletionIdentity& identity, const CompletionRequest& request,
                                       std::span<const CompletionText> texts, int64_t prompt_tokens,
                                       const TextCodec& codec);

}  // namespace fathom::cli::batch
