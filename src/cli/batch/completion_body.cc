#include "cli/batch/completion_body.h"

#include <algorithm>
#include <cmath>

#include "cli/chat/reasoning_splitter.h"
#include "text/utf8.h"

namespace fathom::cli::batch {

namespace {

using nlohmann::ordered_json;

std::string text_of(const TextCodec& codec, int32_t id) {
  return text::replace_invalid_utf8(codec.bytes_of(id));
}

// Minus infinity, which JSON has no word for, as servers write it.
double number_of(float log_probability) {
  return std::isinf(log_probability) ? -9999.0 : double{log_probability};
}

int64_t characters_in(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

// Parallel lists, an entry for each token: of the prompt, if the text begins with it, whose first token has
// nothing before it that would make it probable, and of the text.
struct LogprobLists {
  const CompletionText& text;
  const TextCodec& codec;
  ordered_json tokens = ordered_json::array(), numbers = tokens, top = tokens, offsets = tokens;
  int64_t offset = 0;

  void begin_entry(int32_t id) {
    offsets.push_back(offset);
    if (tokens.size() < text.pieces().size()) offset += characters_in(text.pieces()[tokens.size()]);
    tokens.push_back(text_of(codec, id));
  }
  void add(const GeneratedToken& token, const std::vector<std::vector<TokenLogProbability>>& others,
           size_t i) {
    begin_entry(token.token);
    numbers.push_back(number_of(token.log_probability));
    ordered_json alternatives = ordered_json::object();
    // Two ids may be the same text: the more probable one counts, which comes first.
    if (i < others.size()) {
      for (const TokenLogProbability& other : others[i])
        alternatives.emplace(text_of(codec, other.token), number_of(other.log_probability));
    }
    alternatives.emplace(text_of(codec, token.token), number_of(token.log_probability));
    top.push_back(std::move(alternatives));
  }
};

ordered_json completion_logprobs(const CompletionText& text, const TextCodec& codec) {
  const RequestResult& result = text.result();
  LogprobLists lists{text, codec};
  if (!text.echoed().empty()) {
    lists.begin_entry(text.echoed().front());
    lists.numbers.push_back(nullptr);
    lists.top.push_back(nullptr);
    for (size_t i = 0; i < result.prompt.size(); ++i) lists.add(result.prompt[i], result.prompt_top, i);
  }
  for (size_t i = 0; i < result.tokens.size(); ++i) lists.add(result.tokens[i], result.top, i);
  return {{"tokens", lists.tokens},
          {"token_logprobs", lists.numbers},
          {"top_logprobs", lists.top},
          {"text_offset", lists.offsets}};
}

ordered_json chat_entry(const TextCodec& codec, int32_t id, float log_probability) {
  const std::string bytes = codec.bytes_of(id);
  return {{"token", text_of(codec, id)},
          {"logprob", number_of(log_probability)},
          {"bytes", std::vector<uint8_t>(bytes.begin(), bytes.end())}};
}

ordered_json chat_logprobs(const CompletionText& text, const TextCodec& codec) {
  ordered_json content = ordered_json::array();
  for (size_t i = 0; i < text.result().tokens.size(); ++i) {
    const GeneratedToken& token = text.result().tokens[i];
    ordered_json entry = chat_entry(codec, token.token, token.log_probability);
    entry["top_logprobs"] = ordered_json::array();
    if (i < text.result().top.size()) {
      for (const TokenLogProbability& other : text.result().top[i])
        entry["top_logprobs"].push_back(chat_entry(codec, other.token, other.log_probability));
    }
    content.push_back(std::move(entry));
  }
  return {{"content", content}, {"refusal", nullptr}};
}

ordered_json message_of(const CompletionText& text) {
  chat::ReasoningSplitter splitter;
  std::string content, reasoning;
  const auto take = [&](const std::vector<chat::AnswerPart>& parts) {
    for (const chat::AnswerPart& part : parts) (part.reasoning ? reasoning : content) += part.text;
  };
  take(splitter.push(text.text()));
  take(splitter.finish());
  ordered_json message = {{"role", "assistant"}, {"content", content}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  return message;
}

}  // namespace

ordered_json completion_body(const CompletionIdentity& identity, const CompletionRequest& request,
                             std::span<const CompletionText> texts, int64_t prompt_tokens,
                             const TextCodec& codec) {
  ordered_json choices = ordered_json::array();
  int64_t written = 0, cached = 0, drafted = 0, accepted = 0;
  for (const CompletionText& text : texts) {
    // A prompt counts once, by its first text.
    if (choices.size() % static_cast<size_t>(request.n) == 0) cached += text.result().cached_tokens;
    written += static_cast<int64_t>(text.result().tokens.size());
    drafted += text.result().drafted;
    accepted += text.result().accepted;
    ordered_json choice = {{"index", choices.size()}};
    if (request.chat) {
      choice["message"] = message_of(text);
    } else {
      choice["text"] = text.text();
    }
    choice["logprobs"] = nullptr;
    if (request.logprobs)
      choice["logprobs"] = request.chat ? chat_logprobs(text, codec) : completion_logprobs(text, codec);
    choice["finish_reason"] = text.finish_reason();
    choice["stop_reason"] = text.stop_reason();
    choices.push_back(std::move(choice));
  }
  return {
      {"id", (request.chat ? "chatcmpl-" : "cmpl-") + identity.id},
      {"object", request.chat ? "chat.completion" : "text_completion"},
      {"created", identity.created},
      {"model", identity.model},
      {"system_fingerprint", identity.system_fingerprint},
      {"choices", choices},
      {"usage",
       {{"prompt_tokens", prompt_tokens},
        {"completion_tokens", written},
        {"total_tokens", prompt_tokens + written},
        {"prompt_tokens_details", {{"cached_tokens", cached}}},
        {"completion_tokens_details",
         {{"accepted_prediction_tokens", accepted}, {"rejected_prediction_tokens", drafted - accepted}}}}}};
}

}  // namespace fathom::cli::batch
