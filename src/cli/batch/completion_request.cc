#include "cli/batch/completion_request.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json.h"

namespace fathom::cli::batch {

namespace {

using nlohmann::json;

constexpr int64_t kMostPrompts = 4096;  // of a body, times n
constexpr size_t kMostStops = 64;
constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();

// Reads fields one by one; the first thing that is wrong stays.
class Fields {
 public:
  explicit Fields(const json& body) : body_(body) {}

  // Null where the field is absent or null.
  const json* find(const char* name) const {
    const auto at = body_.find(name);
    return at == body_.end() || at->is_null() ? nullptr : &*at;
  }
  void refuse(const std::string& name, const std::string& message, int status = 400) {
    if (error) return;
    error = ApiError{.status = status, .message = name + ": " + message, .param = name};
    if (status == 501) error->type = "not_supported_error";
  }
  void refuse_kind(const char* name, const json& found, const char* expected) {
    refuse(name, "found " + kind_of(found) + ", expected " + expected);
  }

  std::optional<bool> flag(const char* name) {
    const json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_boolean()) return refuse_kind(name, *value, "true or false"), std::nullopt;
    return value->get<bool>();
  }
  std::optional<double> number(const char* name, double least, double most) {
    const json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_number()) return refuse_kind(name, *value, "a number"), std::nullopt;
    const auto found = value->get<double>();
    if (!(found >= least && found <= most)) {
      refuse(name, value->dump() + " is not from " + json(least).dump() + " to " + json(most).dump());
      return {};
    }
    return found;
  }
  std::optional<int64_t> whole(const char* name, int64_t least, int64_t most) {
    const json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_number_integer()) return refuse_kind(name, *value, "a whole number"), std::nullopt;
    const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX;
    if (too_large || value->get<int64_t>() < least || value->get<int64_t>() > most) {
      refuse(name, value->dump() + " is not from " + std::to_string(least) + " to " + std::to_string(most));
      return {};
    }
    return value->get<int64_t>();
  }
  std::optional<std::string> string(const char* name) {
    const json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_string()) return refuse_kind(name, *value, "a string"), std::nullopt;
    return value->get<std::string>();
  }
  // A field that is known and cannot be served, but for values that ask for nothing.
  void only(const char* name, const std::vector<json>& idle) {
    const json* value = find(name);
    if (value == nullptr || std::ranges::find(idle, *value) != idle.end()) return;
    refuse(name, "not supported", 501);
  }

  std::optional<ApiError> error;

 private:
  const json& body_;
};

bool is_ids(const json& value) {
  return value.is_array() && !value.empty() && std::ranges::all_of(value, [](const json& id) {
           return id.is_number_integer() && id >= 0 && id <= std::numeric_limits<int32_t>::max();
         });
}

void read_prompts(Fields& fields, CompletionRequest& request) {
  const json* prompt = fields.find("prompt");
  const char* const expected = "a text, a list of token ids, or a list of either";
  if (prompt == nullptr) return fields.refuse("prompt", std::string("missing, expected ") + expected);
  const auto take = [&](const json& one) {
    if (one.is_string()) {
      request.prompts.emplace_back(one.get<std::string>());
    } else if (is_ids(one)) {
      request.prompts.emplace_back(one.get<std::vector<int32_t>>());
    } else {
      fields.refuse("prompt", std::string("expected ") + expected);
    }
  };
  if (prompt->is_array() && !is_ids(*prompt)) {
    if (prompt->empty()) fields.refuse("prompt", "an empty list");
    for (const json& one : *prompt) take(one);
  } else {
    take(*prompt);
  }
}

// A message's text: a string, or parts of which all are texts.
std::optional<std::string> content_of(Fields& fields, const json& message) {
  const json content = message.value("content", json());
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    fields.refuse("messages", "content is " + kind_of(content) + ", expected a text or a list of texts");
    return {};
  }
  std::string text;
  for (const json& part : content) {
    if (!part.is_object() || part.value("type", json()) != "text" ||
        !part.value("text", json()).is_string()) {
      fields.refuse("messages", "a part of content is no text, the only type that this model reads");
      return {};
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

void read_messages(Fields& fields, CompletionRequest& request) {
  const json* messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    return fields.refuse("messages", "expected a list of at least one message");
  for (const json& message : *messages) {
    if (!message.is_object()) return fields.refuse_kind("messages", message, "an object");
    const json role = message.value("role", json());
    ChatMessage read;
    if (role == "system" || role == "developer") {
      read.role = text::Role::kSystem;
    } else if (role == "user") {
      read.role = text::Role::kUser;
    } else if (role == "assistant") {
      read.role = text::Role::kAssistant;
    } else {
      return fields.refuse("messages",
                           "the role " + role.dump() + ", expected system, developer, user or assistant");
    }
    const std::optional<std::string> text = content_of(fields, message);
    if (!text) return;
    read.text = *text;
    request.messages.push_back(std::move(read));
  }
}

void read_stops(Fields& fields, CompletionRequest& request) {
  if (const json* stop = fields.find("stop"); stop != nullptr) {
    const json list = stop->is_array() ? *stop : json::array({*stop});
    for (const json& one : list) {
      if (!one.is_string()) return fields.refuse_kind("stop", one, "a text or a list of texts");
      if (!one.get_ref<const std::string&>().empty()) request.stop.push_back(one.get<std::string>());
    }
    if (request.stop.size() > kMostStops)
      fields.refuse("stop", "more than " + std::to_string(kMostStops) + " texts");
  }
  if (const json* ids = fields.find("stop_token_ids"); ids != nullptr && !ids->empty()) {
    if (!is_ids(*ids)) return fields.refuse("stop_token_ids", "expected a list of token ids");
    request.stop_token_ids = ids->get<std::vector<int32_t>>();
  }
}

void read_rules(Fields& fields, CompletionRequest& request) {
  if (const json* bias = fields.find("logit_bias"); bias != nullptr) {
    if (!bias->is_object())
      return fields.refuse_kind("logit_bias", *bias, "an object of token ids and numbers");
    for (const auto& [key, value] : bias->items()) {
      const bool is_id = !key.empty() && key.size() <= 9 &&
                         std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
      if (!is_id || !value.is_number() || !(std::fabs(value.get<double>()) <= 100)) {
        return fields.refuse("logit_bias", json(key).dump() + ": " + value.dump() +
                                               ", expected a token id and a number from -100 to 100");
      }
      request.rules.bias.emplace_back(std::stoi(key), value.get<float>());
    }
  }
  const auto take = [&](const char* name, double least, double most, float& value) {
    if (const std::optional<double> given = fields.number(name, least, most))
      value = static_cast<float>(*given);
  };
  take("presence_penalty", -2, 2, request.rules.presence_penalty);
  take("frequency_penalty", -2, 2, request.rules.frequency_penalty);
  take("repetition_penalty", 1e-2, 1e2, request.rules.repetition_penalty);
}

void read_sampling(Fields& fields, CompletionRequest& request) {
  const auto take = [&](const char* name, double least, double most, std::optional<float>& value) {
    if (const std::optional<double> given = fields.number(name, least, most))
      value = static_cast<float>(*given);
  };
  take("temperature", 0, 2, request.temperature);
  take("top_p", 0, 1, request.top_p);
  take("min_p", 0, 1, request.min_p);
  if (const auto top_k = fields.whole("top_k", -1, kMostTokens))
    request.top_k = static_cast<int32_t>(std::max<int64_t>(0, *top_k));
  if (const auto seed = fields.whole("seed", INT64_MIN, INT64_MAX))
    request.seed = static_cast<uint64_t>(*seed);
  request.n = static_cast<int32_t>(fields.whole("n", 1, 128).value_or(1));
}

void read_log_probabilities(Fields& fields, CompletionRequest& request) {
  if (!request.chat) {
    if (const auto count = fields.whole("logprobs", 0, 20)) request.logprobs = static_cast<int32_t>(*count);
    return;
  }
  const bool wanted = fields.flag("logprobs").value_or(false);
  const auto top = fields.whole("top_logprobs", 0, 20);
  if (top && !wanted) fields.refuse("top_logprobs", "needs logprobs: true");
  if (wanted) request.logprobs = static_cast<int32_t>(top.value_or(0));
}

}  // namespace

nlohmann::ordered_json body_of(const ApiError& error) {
  const auto or_null = [](const std::string& text) { return text.empty() ? json() : json(text); };
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", or_null(error.param)},
            {"code", or_null(error.code)}}}};
}

std::variant<CompletionRequest, ApiError> parse_completion(const json& body, bool chat) {
  if (!body.is_object()) return ApiError{.message = "the body is " + kind_of(body) + ", expected an object"};
  CompletionRequest request;
  request.chat = chat;
  Fields fields(body);
  request.model = fields.string("model").value_or("");
  if (chat) {
    read_messages(fields, request);
  } else {
    read_prompts(fields, request);
  }
  request.max_tokens = fields.whole("max_tokens", 0, kMostTokens);
  if (chat) {
    if (const auto newer = fields.whole("max_completion_tokens", 0, kMostTokens)) request.max_tokens = newer;
  } else if (!request.max_tokens) {
    request.max_tokens = 16;
  }
  read_sampling(fields, request);
  read_rules(fields, request);
  read_stops(fields, request);
  read_log_probabilities(fields, request);
  request.ignore_eos = fields.flag("ignore_eos").value_or(false);
  request.include_stop_str_in_output = fields.flag("include_stop_str_in_output").value_or(false);
  request.add_special_tokens = fields.flag("add_special_tokens").value_or(true);
  request.priority = static_cast<int32_t>(fields.whole("priority", INT32_MIN, INT32_MAX).value_or(0));
  if (static_cast<int64_t>(request.prompts.size()) * request.n > kMostPrompts)
    fields.refuse("n", "more than " + std::to_string(kMostPrompts) + " texts of one body");

  fields.only("stream", {false});
  if (chat) {
    fields.only("echo", {false});
  } else {
    request.echo = fields.flag("echo").value_or(false);
  }
  fields.only("best_of", {1, request.n});
  fields.only("suffix", {""});
  fields.only("prompt_logprobs", {});
  fields.only("truncate_prompt_tokens", {});
  fields.only("allowed_token_ids", {});
  fields.only("bad_words", {json::array()});
  fields.only("min_tokens", {0});
  fields.only("skip_special_tokens", {true});
  fields.only("return_token_ids", {false});
  fields.only("return_tokens_as_token_ids", {false});
  fields.only("response_format", {{{"type", "text"}}});
  fields.only("grammar", {""});
  fields.only("thinking_token_budget", {});
  fields.only("tools", {});
  fields.only("tool_choice", {"none"});
  fields.only("continue_final_message", {false});
  fields.only("add_generation_prompt", {true});
  fields.only("chat_template", {});
  if (fields.error) return *fields.error;
  return request;
}

}  // namespace fathom::cli::batch
