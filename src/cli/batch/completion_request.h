// The body of a request for completions as OpenAI's API has them, with the further fields of vLLM and
// llama-server that Fathom knows. What it does not know is ignored, as servers do; what it knows and cannot
// do is refused by name.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/logit_rules.h"
#include "text/chat_template.h"

namespace fathom::cli::batch {

// What a client reads of a refusal.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param = {};  // the field; empty: none
  std::string code = {};
};
nlohmann::ordered_json body_of(const ApiError& error);

struct ChatMessage {
  text::Role role = text::Role::kUser;
  std::string text;
};

struct CompletionRequest {
  using Prompt = std::variant<std::string, std::vector<int32_t>>;
  bool chat = false;
  std::string model;                  // empty: not named
  std::vector<Prompt> prompts;        // of completions
  std::vector<ChatMessage> messages;  // of a chat
  std::optional<int64_t> max_tokens;
  // Where nothing is given the model's own recommendation counts.
  std::optional<float> temperature, top_p, min_p;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  int32_t n = 1;  // texts for each prompt
  LogitRules rules;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false, include_stop_str_in_output = false, add_special_tokens = true;
  bool echo = false;                // of completions: the text begins with the prompt
  std::optional<int32_t> logprobs;  // how many alternatives beside each token
  int32_t priority = 0;
};

// `chat`: of /v1/chat/completions, else of /v1/completions.
std::variant<CompletionRequest, ApiError> parse_completion(const nlohmann::json& body, bool chat);

}  // namespace fathom::cli::batch
