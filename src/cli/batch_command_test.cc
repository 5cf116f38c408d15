// fathom batch as a user runs it: the texts of fathom generate, whatever runs beside them; a batch that was
// stopped goes on; what is wrong is said, in the file or before anything runs.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/command_testing.h"
#include "cli/model_testing.h"
#include "plan/testing.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using cli::testing::Outcome;
using nlohmann::json;
using ::testing::HasSubstr;

class BatchCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(path_);
    for (const char* name : {"llama", "mor"}) {
      ModelSpec spec = std::string(name) == "mor" ? testing_plan::tiny_mor(Sharing::kMiddleCycle, 3)
                                                  : testing_plan::tiny();
      spec.initializer_range = 0.3;
      cli::testing::write_random_model(path_ + "/" + name, spec);
    }
  }
  void TearDown() override { fs::remove_all(path_); }

  void put(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }
  std::string content_of(const std::string& name) const {
    std::ostringstream out;
    out << std::ifstream(path_ + "/" + name, std::ios::binary).rdbuf();
    return out.str();
  }
  // Words that begin with @ are paths in the test's folder.
  Outcome run(const std::string& arguments) const {
    return cli::testing::run_fathom(cli::testing::in_folder(arguments, path_));
  }
  // The response to each custom_id.
  std::map<std::string, json> responses(const std::string& name) const {
    std::map<std::string, json> all;
    std::istringstream lines(content_of(name));
    for (std::string line; std::getline(lines, line);) {
      const json object = json::parse(line);
      EXPECT_TRUE(all.emplace(object["custom_id"], object["response"]).second) << line;
    }
    return all;
  }

  std::string path_ =
      (fs::temp_directory_path() / ("fathom-batch-test-" + std::to_string(::getpid()))).string();
};

std::string line_of(const std::string& id, const json& body, const char* url = "/v1/completions") {
  return json{{"custom_id", id}, {"method", "POST"}, {"url", url}, {"body", body}}.dump() + "\n";
}

json body_of(const std::string& prompt, int tokens, int seed) {
  return {{"prompt", prompt},   {"max_tokens", tokens}, {"seed", seed},
          {"temperature", 0.9}, {"ignore_eos", true},   {"logprobs", 0}};
}

TEST_F(BatchCommand, TextsAreThoseOfGenerate) {
  for (const char* model : {"llama", "mor"}) {
    std::string lines;
    for (int i = 0; i < 9; ++i)
      lines +=
          line_of("r" + std::to_string(i),
                  body_of("a text of its own " + std::string(static_cast<size_t>(i * 7), 'x'), 5 + i * 3, i));
    put("in.jsonl", lines);
    fs::remove(path_ + "/out.jsonl");
    const std::string numbers = "--dtype f32 --kv-type f32 -c 300";
    const Outcome outcome =
        run(std::string("batch @") + model + " @in.jsonl -o @out.jsonl -b 16 --max-sequences 5 " + numbers);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("9 done"));
    const auto all = responses("out.jsonl");
    ASSERT_EQ(all.size(), 9U);
    for (int i = 0; i < 9; ++i) {
      const json& response = all.at("r" + std::to_string(i));
      EXPECT_EQ(response["status_code"], 200);
      const json& choice = response["body"]["choices"][0];
      const Outcome alone = cli::testing::run_fathom(
          cli::testing::in_folder(std::string("generate @") + model +
                                      " --json --ignore-eos --temperature 0.9 --prompt 'a text of its own " +
                                      std::string(static_cast<size_t>(i * 7), 'x') + "' -n " +
                                      std::to_string(5 + i * 3) + " --seed " + std::to_string(i) + " " +
                                      numbers,
                                  path_),
          "");
      const json expected = json::parse(alone.text, nullptr, false);
      ASSERT_TRUE(expected.is_object()) << alone.text;
      EXPECT_EQ(choice["text"], expected["text"]) << i;
      EXPECT_EQ(choice["finish_reason"], "length");
      ASSERT_EQ(choice["logprobs"]["token_logprobs"].size(), expected["tokens"].size());
      for (size_t t = 0; t < expected["tokens"].size(); ++t)
        EXPECT_EQ(choice["logprobs"]["token_logprobs"][t], expected["tokens"][t]["logprob"]) << i << " " << t;
      EXPECT_EQ(response["body"]["usage"]["completion_tokens"], 5 + i * 3);
      EXPECT_EQ(response["body"]["model"], model);
    }
  }
}

// Guesses change how a text comes and nothing of it, in a batch and in fathom generate.
TEST_F(BatchCommand, GuessesChangeNoText) {
  std::string lines;
  for (int i = 0; i < 6; ++i) {
    json body = body_of("to be or not to be or not to be ", 40, i);
    body["temperature"] = i % 2 == 0 ? 0.0 : 0.9;
    lines += line_of("r" + std::to_string(i), body);
  }
  put("in.jsonl", lines);
  // Of small weights a tied head finds the last token again: a text that repeats itself.
  ModelSpec still = testing_plan::tiny_mor(Sharing::kMiddleCycle, 3);
  still.initializer_range = 0.02;
  still.tie_word_embeddings = true;
  cli::testing::write_random_model(path_ + "/still", still);
  for (const char* model : {"llama", "mor", "still"}) {
    const bool repeats = std::string(model) == "still";
    const std::string batch = std::string("batch @") + model + " @in.jsonl -b 16 --max-sequences 2 -c 300 ";
    ASSERT_EQ(run(batch + "-o @" + model + ".jsonl").code, 0);
    const Outcome guessed = run(batch + "--draft-max 5 -o @" + model + "-guessed.jsonl");
    ASSERT_EQ(guessed.code, 0) << guessed.text;
    EXPECT_THAT(guessed.text, HasSubstr("guesses came true"));
    const auto plain = responses(std::string(model) + ".jsonl"),
               other = responses(std::string(model) + "-guessed.jsonl");
    int64_t accepted = 0;
    for (const auto& [id, response] : plain) {
      EXPECT_EQ(other.at(id)["body"]["choices"], response["body"]["choices"]) << model << " " << id;
      const json& details = other.at(id)["body"]["usage"]["completion_tokens_details"];
      accepted += details["accepted_prediction_tokens"].get<int64_t>();
    }
    EXPECT_GE(accepted, repeats ? 50 : 0) << model;

    const std::string generate = std::string("generate @") + model +
                                 " --json --temperature 0 -n 40 --prompt 'to be or not to be or not to be ' ";
    json alone = json::parse(run(generate).text, nullptr, false),
         drafted = json::parse(run(generate + "--draft-max 7").text, nullptr, false);
    ASSERT_TRUE(alone.is_object() && drafted.is_object());
    EXPECT_EQ(alone["tokens"], drafted["tokens"]);
    EXPECT_EQ(alone["prompt_depths"], drafted["prompt_depths"]);
    EXPECT_GE(drafted["drafted_tokens"], drafted["accepted_tokens"]);
    EXPECT_GE(drafted["accepted_tokens"], repeats ? 20 : 0) << model;
  }
}

TEST_F(BatchCommand, AnEchoIsThePromptWithItsProbabilities) {
  json body = body_of("a prompt", 3, 1), prompt_alone = body, ids = body;
  body["echo"] = prompt_alone["echo"] = ids["echo"] = true;
  body["logprobs"] = 2;
  prompt_alone["max_tokens"] = 0;
  ids["prompt"] = {97, 32, 112};
  ids.erase("logprobs");
  put("in.jsonl", line_of("a", body) + line_of("b", prompt_alone) + line_of("c", ids) +
                      line_of("d", {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"echo", true}},
                              "/v1/chat/completions"));
  EXPECT_EQ(
      run("batch @llama @in.jsonl -o @out.jsonl -c 300 -b 4 --max-sequences 2 --chat-template chatml").code,
      1);
  auto all = responses("out.jsonl");
  const json a = all.at("a")["body"]["choices"][0];
  EXPECT_EQ(a["text"].get<std::string>().substr(0, 8), "a prompt");
  const json& logprobs = a["logprobs"];
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    ASSERT_EQ(logprobs[list].size(), 11U) << list;
  EXPECT_EQ(logprobs["tokens"][0], "a");
  EXPECT_EQ(logprobs["tokens"][2], "p");
  EXPECT_EQ(logprobs["text_offset"][8], 8);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
  for (size_t i = 1; i < 11; ++i) {
    EXPECT_LT(logprobs["token_logprobs"][i].get<double>(), 0) << i;
    EXPECT_GE(logprobs["top_logprobs"][i].size(), 1U) << i;  // ids of one text are one
  }
  EXPECT_EQ(all.at("a")["body"]["usage"]["completion_tokens"], 3);
  const json b = all.at("b")["body"]["choices"][0];
  EXPECT_EQ(b["text"], "a prompt");
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(b["logprobs"]["token_logprobs"][i], logprobs["token_logprobs"][i]);
  const json c = all.at("c")["body"]["choices"][0];
  EXPECT_EQ(c["text"].get<std::string>().substr(0, 3), "a p");
  EXPECT_TRUE(c["logprobs"].is_null());
  EXPECT_EQ(all.at("d")["status_code"], 501);
}

TEST_F(BatchCommand, ABatchThatWasKilledGoesOn) {
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += line_of(std::to_string(i), body_of("text " + std::to_string(i), 60, i));
  put("in.jsonl", lines);
  ASSERT_EQ(run("batch @llama @in.jsonl -o @whole.jsonl --max-sequences 3").code, 0);
  const std::string command = "batch @llama @in.jsonl -o @out.jsonl --max-sequences 3 --quiet";
  // Killed behind its first lines, or before; then whatever is left.
  const std::string killed = cli::testing::in_folder(
      "sh -c '" FATHOM_BIN_DIR "/fathom " + command +
          " & P=$!; until [ -s @out.jsonl ]; do :; done; kill -9 $P; wait $P' 2>/dev/null",
      path_);
  ASSERT_NE(std::system(killed.c_str()), -1);
  const std::string written = content_of("out.jsonl");
  const auto before = std::ranges::count(written, '\n');
  const Outcome rest = run(command);
  ASSERT_EQ(rest.code, 0) << rest.text;
  const auto whole = responses("whole.jsonl"), both = responses("out.jsonl");
  ASSERT_EQ(both.size(), 40U);
  EXPECT_LT(before, 40);
  for (const auto& [id, response] : whole)
    EXPECT_EQ(both.at(id)["body"]["choices"], response["body"]["choices"]) << id;
  // Everything is done: nothing is added.
  const std::string content = content_of("out.jsonl");
  EXPECT_EQ(run(command).code, 0);
  EXPECT_EQ(content_of("out.jsonl"), content);
}

TEST_F(BatchCommand, OneBodyMayAskForManyTexts) {
  put("in.jsonl",
      line_of("many",
              {{"prompt", {"one", "two"}}, {"n", 3}, {"max_tokens", 8}, {"seed", 4}, {"ignore_eos", true}}) +
          line_of("ids", {{"prompt", {104, 105}}, {"max_tokens", 2}, {"logprobs", 3}, {"ignore_eos", true}}));
  ASSERT_EQ(run("batch @llama @in.jsonl -o @out.jsonl").code, 0);
  const auto all = responses("out.jsonl");
  const json& choices = all.at("many")["body"]["choices"];
  ASSERT_EQ(choices.size(), 6U);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(choices[i]["index"], i);
  EXPECT_NE(choices[0]["text"], choices[1]["text"]);
  EXPECT_EQ(all.at("many")["body"]["usage"]["prompt_tokens"], 6);
  const json& logprobs = all.at("ids")["body"]["choices"][0]["logprobs"];
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_GE(logprobs["top_logprobs"][i].size(), 3U);
    const std::string token = logprobs["tokens"][i];
    EXPECT_TRUE(logprobs["top_logprobs"][i].contains(token));
  }
}

TEST_F(BatchCommand, BeginningsThatOthersReadAreNotReadAgain) {
  std::string lines;
  for (int i = 0; i < 6; ++i)
    lines += line_of(std::to_string(i), body_of(std::string(280, 'a') + std::to_string(i), 4, i));
  json many = body_of(std::string(40, 'b'), 6, 3);
  many["n"] = 4;
  lines += line_of("many", many);
  put("in.jsonl", lines);
  ASSERT_EQ(run("batch @mor @in.jsonl -o @none.jsonl -c 400 --prefix-cache 0 --max-sequences 1").code, 0);
  const Outcome outcome = run("batch @mor @in.jsonl -o @out.jsonl -c 400 --max-sequences 1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  // Five prompts find the first 256 tokens, three texts all of their prompt but a token.
  EXPECT_THAT(outcome.text,
              HasSubstr(" " + std::to_string(5 * 256 + 3 * 39) + " tokens of prompts found read"));
  const auto none = responses("none.jsonl"), found = responses("out.jsonl");
  for (const auto& [id, response] : none)
    EXPECT_EQ(found.at(id)["body"]["choices"], response["body"]["choices"]) << id;
  EXPECT_EQ(found.at("3")["body"]["usage"]["prompt_tokens_details"]["cached_tokens"], 256);
  EXPECT_EQ(none.at("3")["body"]["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST_F(BatchCommand, ChatsAreWrittenInTheNamedTemplate) {
  put("in.jsonl", line_of("chat",
                          {{"messages", {{{"role", "user"}, {"content", "hello"}}}},
                           {"max_tokens", 6},
                           {"logprobs", true},
                           {"top_logprobs", 2}},
                          "/v1/chat/completions"));
  ASSERT_EQ(run("batch @llama @in.jsonl -o @out.jsonl --chat-template chatml").code, 0);
  const json body = responses("out.jsonl").at("chat")["body"];
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  const json& content = body["choices"][0]["logprobs"]["content"];
  ASSERT_FALSE(content.empty());
  EXPECT_EQ(content[0]["top_logprobs"].size(), 2U);
  EXPECT_EQ(content[0]["bytes"].size(), 1U);
}

TEST_F(BatchCommand, StopStringsEndTexts) {
  put("in.jsonl", line_of("whole", body_of("some", 40, 1)));
  ASSERT_EQ(run("batch @llama @in.jsonl -o @out.jsonl").code, 0);
  const std::string text = responses("out.jsonl").at("whole")["body"]["choices"][0]["text"];
  ASSERT_GE(text.size(), 12U);
  const size_t at = text.size() / 2;
  size_t size = 1;
  while ((static_cast<uint8_t>(text[at + size]) & 0xC0) == 0x80) ++size;
  size_t begin = at;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  const std::string stop = text.substr(begin, at + size - begin);
  json body = body_of("some", 40, 1), kept = body;
  body["stop"] = {stop};
  kept["stop"] = stop;
  kept["include_stop_str_in_output"] = true;
  put("in.jsonl", line_of("cut", body) + line_of("kept", kept));
  ASSERT_EQ(run("batch @llama @in.jsonl -o @stopped.jsonl").code, 0);
  const auto all = responses("stopped.jsonl");
  const json& choice = all.at("cut")["body"]["choices"][0];
  EXPECT_EQ(choice["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["stop_reason"], stop);
  EXPECT_EQ(all.at("kept")["body"]["choices"][0]["text"], text.substr(0, text.find(stop)) + stop);
}

TEST_F(BatchCommand, WhatCannotBeAnsweredIsSaidInItsLine) {
  put("in.jsonl",
      line_of("good", body_of("a", 3, 1)) + line_of("bad", {{"prompt", "a"}, {"temperature", 7}}) +
          line_of("long", {{"prompt", std::string(5000, 'x')}}) + line_of("ids", {{"prompt", {{1}, {999}}}}) +
          line_of("other", {{"prompt", "a"}, {"model", "gpt"}}) +
          line_of("new", {{"prompt", "a"}, {"stream", true}}));
  const Outcome outcome = run("batch @llama @in.jsonl -o @out.jsonl");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("5 of 6 requests have no answer"));
  const auto all = responses("out.jsonl");
  EXPECT_EQ(all.at("good")["status_code"], 200);
  EXPECT_EQ(all.at("bad")["status_code"], 400);
  EXPECT_EQ(all.at("bad")["body"]["error"]["param"], "temperature");
  EXPECT_EQ(all.at("long")["body"]["error"]["code"], "context_length_exceeded");
  EXPECT_THAT(std::string(all.at("ids")["body"]["error"]["message"]), HasSubstr("the id 999"));
  EXPECT_EQ(all.at("other")["status_code"], 404);
  EXPECT_EQ(all.at("new")["status_code"], 501);
}

TEST_F(BatchCommand, WhatIsWrongWithTheWholeIsSaidFirst) {
  put("in.jsonl", line_of("a", body_of("a", 3, 1)));
  put("torn.jsonl", line_of("a", body_of("a", 3, 1)) + "{\"custom_id\": ");
  put("notes", "mine\n");
  Outcome outcome = run("batch @llama @torn.jsonl -o @out.jsonl");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("torn.jsonl, line 2: "));
  outcome = run("batch @llama @in.jsonl -o @notes");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(content_of("notes"), "mine\n");
  outcome = run("batch @llama @in.jsonl -o @in.jsonl");
  EXPECT_EQ(outcome.code, 2);
  outcome = run("batch @llama @in.jsonl -o @out.jsonl --memory 100000GiB");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("--memory: "));
  outcome = run("batch @llama - -o @out.jsonl < /dev/null");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("standard input cannot be read twice"));
  outcome = run("batch @llama /dev/null -o @out.jsonl");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, HasSubstr("/dev/null is not a regular file"));
  outcome = run("batch @llama @missing.jsonl -o @out.jsonl");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_FALSE(fs::exists(path_ + "/out.jsonl"));
}

TEST_F(BatchCommand, MemoryTooSmallForAllTakesTurns) {
  std::string lines;
  for (int i = 0; i < 12; ++i) lines += line_of(std::to_string(i), body_of(std::string(100, 'a'), 100, i));
  put("in.jsonl", lines);
  ASSERT_EQ(run("batch @llama @in.jsonl -o @wide.jsonl -c 300").code, 0);
  const Outcome outcome = run("batch @llama @in.jsonl -o @out.jsonl -c 300 --memory 200KiB");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, ::testing::Not(HasSubstr(" 0 preemptions")));
  EXPECT_THAT(outcome.text, HasSubstr(", 0 restored)"));
  fs::create_directories(path_ + "/slots");
  const Outcome saved =
      run("batch @llama @in.jsonl -o @saved.jsonl -c 300 --memory 200KiB --slot-save-path @slots");
  ASSERT_EQ(saved.code, 0) << saved.text;
  EXPECT_THAT(saved.text, HasSubstr("(0 tokens read again, "));
  EXPECT_THAT(saved.text, ::testing::Not(HasSubstr(", 0 restored)")));
  EXPECT_TRUE(fs::is_empty(path_ + "/slots"));
  const auto wide = responses("wide.jsonl"), narrow = responses("out.jsonl"),
             restored = responses("saved.jsonl");
  for (const auto& [id, response] : wide) {
    EXPECT_EQ(narrow.at(id)["body"]["choices"], response["body"]["choices"]) << id;
    EXPECT_EQ(restored.at(id)["body"]["choices"], response["body"]["choices"]) << id;
  }
  const Outcome nowhere = run("batch @llama @in.jsonl -o @x.jsonl --slot-save-path @nowhere");
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.text, HasSubstr("/nowhere: cannot make a scratch file: No such file or directory"));
}

}  // namespace
}  // namespace fathom
