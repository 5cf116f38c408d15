#include "cli/batch/completion_request.h"

#include <gmock/gmock.h>

namespace fathom::cli::batch {
namespace {

using nlohmann::json;

CompletionRequest parsed(const char* body, bool chat = false) {
  const auto result = parse_completion(json::parse(body), chat);
  if (const auto* error = std::get_if<ApiError>(&result)) ADD_FAILURE() << error->message;
  const auto* request = std::get_if<CompletionRequest>(&result);
  return request != nullptr ? *request : CompletionRequest{};
}

ApiError refused(const char* body, bool chat = false) {
  const auto result = parse_completion(json::parse(body), chat);
  const auto* error = std::get_if<ApiError>(&result);
  if (error == nullptr) ADD_FAILURE() << body << " is accepted";
  return error != nullptr ? *error : ApiError{};
}

TEST(CompletionRequest, PromptsHaveFourForms) {
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(std::get<std::string>(parsed(R"({"prompt": "a"})").prompts.at(0)), "a");
  EXPECT_EQ(std::get<Ids>(parsed(R"({"prompt": [1, 2]})").prompts.at(0)), (Ids{1, 2}));
  EXPECT_EQ(parsed(R"({"prompt": ["a", "b"]})").prompts.size(), 2U);
  const CompletionRequest lists = parsed(R"({"prompt": [[1], [2, 3]]})");
  ASSERT_EQ(lists.prompts.size(), 2U);
  EXPECT_EQ(std::get<Ids>(lists.prompts[1]), (Ids{2, 3}));
}

TEST(CompletionRequest, WhatIsNotSaidIsLeftOpen) {
  const CompletionRequest request =
      parsed(R"({"prompt": "a", "temperature": null, "something": "new", "user": "me"})");
  EXPECT_EQ(request.max_tokens, 16);
  EXPECT_FALSE(request.temperature || request.top_p || request.top_k || request.seed || request.logprobs);
  EXPECT_FALSE(request.rules.any());
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(parsed(R"({"messages": [{"role": "user", "content": "a"}]})", true).max_tokens);
}

TEST(CompletionRequest, FieldsAreTaken) {
  const CompletionRequest request = parsed(
      R"({"prompt": "a", "model": "m", "max_tokens": 7, "temperature": 0, "top_p": 0.5, "top_k": -1, "min_p": 0.1,
          "seed": -3, "n": 3, "stop": ["x", "", "yz"], "stop_token_ids": [4], "logprobs": 2, "priority": -1,
          "logit_bias": {"12": -100, "7": 3.5}, "presence_penalty": 1, "frequency_penalty": -2,
          "repetition_penalty": 1.1, "ignore_eos": true, "include_stop_str_in_output": true,
          "add_special_tokens": false})");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.temperature, 0.0F);
  EXPECT_EQ(request.top_k, 0);
  EXPECT_EQ(request.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(request.n, 3);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(request.stop_token_ids, (std::vector<int32_t>{4}));
  EXPECT_EQ(request.logprobs, 2);
  EXPECT_EQ(request.priority, -1);
  EXPECT_THAT(request.rules.bias,
              ::testing::UnorderedElementsAre(std::pair(12, -100.0F), std::pair(7, 3.5F)));
  EXPECT_EQ(request.rules.repetition_penalty, 1.1F);
  EXPECT_TRUE(request.ignore_eos && request.include_stop_str_in_output && !request.add_special_tokens);
}

TEST(CompletionRequest, ChatsHaveMessages) {
  const CompletionRequest request = parsed(
      R"({"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"},
          {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c"}], "max_tokens": 4,
          "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 3})",
      true);
  ASSERT_EQ(request.messages.size(), 3U);
  EXPECT_EQ(request.messages[0].role, text::Role::kSystem);
  EXPECT_EQ(request.messages[1].text, "ab");
  EXPECT_EQ(request.messages[2].role, text::Role::kAssistant);
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.logprobs, 3);
}

TEST(CompletionRequest, WhatIsWrongIsNamed) {
  const auto expect = [](const char* body, const char* param, const char* message, bool chat = false) {
    const ApiError error = refused(body, chat);
    EXPECT_EQ(error.status, 400) << body;
    EXPECT_EQ(error.param, param) << body;
    EXPECT_EQ(error.message, message) << body;
  };
  expect("[]", "", "the body is an array, expected an object");
  expect("{}", "prompt", "prompt: missing, expected a text, a list of token ids, or a list of either");
  expect(R"({"prompt": []})", "prompt", "prompt: an empty list");
  expect(R"({"prompt": [1, "a"]})", "prompt",
         "prompt: expected a text, a list of token ids, or a list of either");
  expect(R"({"prompt": [-1]})", "prompt",
         "prompt: expected a text, a list of token ids, or a list of either");
  expect(R"({"prompt": "a", "temperature": 3})", "temperature", "temperature: 3 is not from 0.0 to 2.0");
  expect(R"({"prompt": "a", "temperature": "1"})", "temperature",
         "temperature: found a string, expected a number");
  expect(R"({"prompt": "a", "max_tokens": 1.5})", "max_tokens",
         "max_tokens: found a number with fraction or exponent, expected a whole number");
  expect(R"({"prompt": "a", "max_tokens": -1})", "max_tokens", "max_tokens: -1 is not from 0 to 2147483647");
  expect(R"({"prompt": "a", "seed": 18446744073709551615})", "seed",
         "seed: 18446744073709551615 is not from -9223372036854775808 to 9223372036854775807");
  expect(R"({"prompt": "a", "logit_bias": {"a": 1}})", "logit_bias",
         "logit_bias: \"a\": 1, expected a token id and a number from -100 to 100");
  expect(R"({"prompt": ["a", "b"], "n": 0})", "n", "n: 0 is not from 1 to 128");
  expect(R"({"messages": []})", "messages", "messages: expected a list of at least one message", true);
  expect(R"({"messages": [{"role": "tool", "content": "a"}]})", "messages",
         "messages: the role \"tool\", expected system, developer, user or assistant", true);
  expect(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages",
         "messages: a part of content is no text, the only type that this model reads", true);
  expect(R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})", "top_logprobs",
         "top_logprobs: needs logprobs: true", true);
}

TEST(CompletionRequest, WhatIsKnownAndNotSupportedIsSaid) {
  for (const char* body : {R"({"prompt": "a", "stream": true})", R"({"prompt": "a", "best_of": 4})",
                           R"({"prompt": "a", "suffix": "b"})",
                           R"({"prompt": "a", "response_format": {"type": "json_object"}})"}) {
    const ApiError error = refused(body);
    EXPECT_EQ(error.status, 501) << body;
    EXPECT_EQ(error.type, "not_supported_error");
  }
  parsed(R"({"prompt": "a", "stream": false, "echo": false, "best_of": 1, "suffix": null,
             "response_format": {"type": "text"}})");
}

TEST(CompletionRequest, AnErrorIsAnObject) {
  EXPECT_EQ(body_of({.message = "m", .param = "p"}).dump(),
            R"({"error":{"message":"m","type":"invalid_request_error","param":"p","code":null}})");
}

}  // namespace
}  // namespace fathom::cli::batch
