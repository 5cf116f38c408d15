// fathom eval as a user runs it: the table, the files it writes, what it refuses, and how it stops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/command_testing.h"
#include "cli/model_testing.h"
#include "plan/testing.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using cli::testing::Outcome;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class EvalCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    write_model("llama", testing_plan::tiny());
    write_model("mor", testing_plan::tiny_mor(Sharing::kMiddleCycle, 3));
    std::string piqa, lambada, mmlu, dev;
    for (int i = 0; i < 12; ++i) {
      const std::string n = std::to_string(i);
      piqa += R"({"goal": "goal )" + n + R"(", "sol1": "first )" + n +
              R"(", "sol2": "the other", "label": )" + std::to_string(i % 2) + "}\n";
      lambada += R"({"text": "some words before the word)" + n + "\"}\n";
      mmlu += R"({"subject": ")" + std::string(i < 8 ? "law" : "physics") + R"(", "question": "question )" +
              n + R"(", "choices": ["w", "x", "y", "z"], "answer": )" + std::to_string(i % 4) + "}\n";
    }
    for (const char* subject : {"law", "physics"}) {
      dev += R"({"subject": ")" + std::string(subject) +
             R"(", "question": "example", "choices": ["w", "x", "y", "z"], "answer": "B"})" + "\n";
    }
    put("data/aime24/test.jsonl",
        "{\"problem\": \"1 + 1?\", \"answer\": 2}\n{\"problem\": \"2?\", \"answer\": \"2\"}\n");
    put("data/piqa/validation.jsonl", piqa);
    put("data/lambada/test.jsonl", lambada);
    put("data/mmlu/test.jsonl", mmlu);
    put("data/mmlu/dev.jsonl", dev);
    put("text.txt", std::string("a first story of some length.\n\na second story of another length.\n"));
  }
  void TearDown() override { fs::remove_all(path_); }

  void put(const std::string& name, const std::string& content) const {
    fs::create_directories(fs::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }

  void write_model(const std::string& name, const ModelSpec& spec) const {
    cli::testing::write_random_model(path_ + "/" + name, spec);
  }

  // Words that begin with @ are paths in the test's folder. `streams` chooses what is caught.
  Outcome eval(const std::string& arguments, const std::string& streams = "2>&1") const {
    return cli::testing::run_fathom("eval " + cli::testing::in_folder(arguments, path_), streams);
  }
  nlohmann::json json(const std::string& name) const {
    std::ifstream file(path_ + "/" + name);
    return nlohmann::json::parse(file);
  }

  std::string path_ =
      (fs::temp_directory_path() / ("fathom-eval-test-" + std::to_string(::getpid()))).string();
};

TEST_F(EvalCommand, PrintsATableAndWritesTheSameAsJson) {
  const Outcome outcome = eval(
      "@llama --tasks piqa,lambada_openai,mmlu --data @data -t 2 --output @out.json --log-samples "
      "@samples.jsonl",
      "2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, StartsWith("|Tasks "));
  const nlohmann::json out = json("out.json");
  const nlohmann::json& results = out["results"];
  for (const char* key : {"piqa", "lambada_openai", "mmlu", "mmlu_law", "mmlu_physics"})
    EXPECT_TRUE(results.contains(key)) << key;
  for (const char* part :
       {"|piqa ", "|published|", "acc_norm", "acc_bytes", "|lambada_openai", "perplexity", "| - law ",
        "| - physics ", "12 of 12 items of ", "MFLOPs each", "memory: weights"}) {
    EXPECT_THAT(outcome.text, HasSubstr(part));
  }
  EXPECT_THAT(outcome.text, Not(HasSubstr("routing")));
  EXPECT_TRUE(out["config"]["routing"].is_null());
  EXPECT_EQ(out["n-samples"]["piqa"], (nlohmann::json{{"original", 12}, {"effective", 12}}));

  // The results follow from the samples.
  std::ifstream samples(path_ + "/samples.jsonl");
  double piqa = 0, lambada = 0;
  int lines = 0;
  for (std::string line; std::getline(samples, line); ++lines) {
    const nlohmann::json sample = nlohmann::json::parse(line);
    if (sample["task"] == "piqa") {
      const size_t best = sample["resps"][1][0] > sample["resps"][0][0] ? 1 : 0;
      EXPECT_EQ(sample["acc"], best == sample["target"] ? 1 : 0);
      EXPECT_EQ(sample["arguments"][1][1], " the other");
      piqa += sample["acc"].get<double>();
    } else if (sample["task"] == "lambada_openai") {
      lambada += sample["resps"][0][0].get<double>();
    }
  }
  EXPECT_EQ(lines, 36);
  EXPECT_NEAR(results["piqa"]["acc,none"], piqa / 12, 1e-12);
  EXPECT_NEAR(results["lambada_openai"]["perplexity,none"].get<double>() / std::exp(-lambada / 12), 1, 1e-9);
}

TEST_F(EvalCommand, ARoutedModelSaysHowItWasRoutedAndHowDeep) {
  const Outcome causal = eval("@mor --tasks piqa --data @data --output @out.json", "2>/dev/null");
  ASSERT_EQ(causal.code, 0) << causal.text;
  EXPECT_THAT(causal.text, HasSubstr("routing threshold (causal): mean depth "));
  EXPECT_EQ(json("out.json")["config"]["routing"], "threshold");
  const Outcome top = eval("@mor --tasks piqa --data @data --output @out.json --routing topk", "2>/dev/null");
  ASSERT_EQ(top.code, 0) << top.text;
  EXPECT_THAT(top.text,
              HasSubstr("routing topk (as published: each request is one call, unpadded): mean depth "));
  const nlohmann::json spent = json("out.json")["spent"];
  EXPECT_NEAR(spent["mean_depth"], 2, 0.1);  // capacities 1, 2/3, 1/3
  EXPECT_EQ(spent["depth_shares"].size(), 3U);
  EXPECT_GT(spent["flops_per_token"], 0);
}

TEST_F(EvalCommand, ChunksAndThreadsChangeNoBit) {
  ASSERT_EQ(eval("@mor --tasks mmlu --data @data --num-fewshot 1 --log-samples @a -t 1 -b 5 --quiet").code,
            0);
  ASSERT_EQ(eval("@mor --tasks mmlu --data @data --num-fewshot 1 --log-samples @b -t 2 -b 300 --quiet").code,
            0);
  std::ifstream a(path_ + "/a"), b(path_ + "/b");
  const std::string one((std::istreambuf_iterator<char>(a)), {}),
      two((std::istreambuf_iterator<char>(b)), {});
  EXPECT_GT(one.size(), 1000U);
  EXPECT_EQ(one, two);
}

TEST_F(EvalCommand, PredictsText) {
  const Outcome outcome = eval(
      "@llama --perplexity @text.txt --sequence-length 16 --rolling @text.txt --document-separator '\n\n' "
      "--output @out.json",
      "2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json out = json("out.json");
  // 29 + 1 and 33 + 1 tokens; three rows of 16 that predict one more.
  EXPECT_EQ(out["perplexity"]["rows"], 3);
  EXPECT_EQ(out["perplexity"]["predictions"], 48);
  EXPECT_EQ(out["rolling"]["documents"], 2);
  EXPECT_EQ(out["rolling"]["bytes"], 62);
  EXPECT_EQ(out["rolling"]["words"], 12);
  EXPECT_NEAR(out["rolling"]["bits_per_byte,none"], std::log2(257), 0.5);
  EXPECT_NEAR(out["perplexity"]["nll"], std::log(257), 0.5);
  EXPECT_FALSE(out["perplexity"].contains("by_context"));
  const Outcome buckets = eval(
      "@llama --perplexity @text.txt --sequence-length 16 --by-context 6 --output @out.json", "2>/dev/null");
  ASSERT_EQ(buckets.code, 0) << buckets.text;
  const nlohmann::json perplexity = json("out.json")["perplexity"], list = perplexity["by_context"];
  ASSERT_EQ(list.size(), 3U);
  double sum = 0;
  for (const nlohmann::json& bucket : list)
    sum += bucket["nll"].get<double>() * bucket["predictions"].get<double>();
  EXPECT_NEAR(sum / 64, perplexity["nll"], 1e-9);
  EXPECT_EQ(list[2]["from"], 13);
  EXPECT_EQ(list[2]["to"], 16);
  EXPECT_EQ(list[2]["predictions"], 16);
  for (const char* part : {"| tokens of context | predictions |", "| 1 to 6 | 24 |", "| 13 to 16 | 16 |"})
    EXPECT_THAT(buckets.text, HasSubstr(part));
  const Outcome limited = eval("@llama --perplexity @text.txt --sequence-length 16 -L 1 --output @out.json");
  ASSERT_EQ(limited.code, 0) << limited.text;
  EXPECT_EQ(json("out.json")["perplexity"]["rows"], 1);
}

TEST_F(EvalCommand, WritesAnswersToDrawnAndReadItems) {
  const Outcome outcome = eval(
      "@mor --tasks phonebook,aime24 --data @data --min-entries 3 --max-entries 4 --lengths 2 --batches 4 "
      "--batch-items 2 --context 300 --max-tokens 3 --samples 2 --chat-template phi --output @out.json "
      "--log-samples @samples.jsonl",
      "2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  for (const char* part :
       {"|phonebook|default", "exact_match", "| - 3 ", "| - 4 ", "sd of 4", "prompt_tokens", "|aime24 ",
        "pass@1", "phonebook: 16 items drawn, 32 answers of 3.0 tokens", "; greedy, seed 42",
        "aime24: 2 of 2 items of ", "; temperature 0.60, top_p 0.95, seed 1, chat template phi",
        "matrices bf16"}) {
    EXPECT_THAT(outcome.text, HasSubstr(part));
  }
  const nlohmann::json out = json("out.json");
  EXPECT_EQ(out["results"]["phonebook_4"]["measurements"].size(), 4U);
  EXPECT_EQ(out["results"]["phonebook_4"]["sample_len"], 8);
  EXPECT_EQ(out["written"]["aime24"]["answers"], 4);
  EXPECT_EQ(out["written"]["aime24"]["chat_template"], "phi");
  EXPECT_EQ(out["written"]["phonebook"]["chat_template"], nullptr);
  EXPECT_EQ(out["spent"]["tokens"].get<double>() > 0, true);

  // What is written to a file for others is what was asked.
  const Outcome written = eval(
      "--tasks phonebook,aime24 --data @data --min-entries 3 --max-entries 4 --lengths 2 --batches 4 "
      "--batch-items 2 --write-items @items.jsonl");
  ASSERT_EQ(written.code, 0) << written.text;
  EXPECT_THAT(written.text, HasSubstr("/items.jsonl: 18 items\n"));
  std::ifstream items(path_ + "/items.jsonl"), samples(path_ + "/samples.jsonl");
  int lines = 0;
  for (std::string item, sample; std::getline(items, item); ++lines) {
    ASSERT_TRUE(std::getline(samples, sample));
    const nlohmann::json one = nlohmann::json::parse(item);
    nlohmann::json same = nlohmann::json::parse(sample);
    EXPECT_EQ(same["resps"].size(), 2U);
    same.erase("resps");
    same.erase(one["task"] == "aime24" ? "pass@1" : "exact_match");
    EXPECT_EQ(one, same);
  }
  EXPECT_EQ(lines, 18);
}

TEST_F(EvalCommand, DrawsLossOverCompute) {
  const Outcome outcome = eval(
      "@mor --perplexity @text.txt --sequence-length 16 --compute-budget 0.4,1 --routing-agreement "
      "--plot @curve.svg --output @out.json",
      "2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  for (const char* part :
       {"| routing | shift | mean depth |", "| budget 0.40 |", "| budget 1.00 |", "| threshold | 0 |",
        "| topk |", "3 rows, 48 predictions; shifts found on the 1 rows",
        "topk and threshold agree on the depth of"}) {
    EXPECT_THAT(outcome.text, HasSubstr(part));
  }
  const nlohmann::json depths = json("out.json")["depths"];
  ASSERT_EQ(depths["budgets"].size(), 2U);
  EXPECT_EQ(depths["budgets"][1]["mean_depth"], 3);
  EXPECT_EQ(depths["budgets"][1]["flops_share"], 1);
  EXPECT_LT(depths["budgets"][0]["flops_share"], 1);
  std::ifstream file(path_ + "/curve.svg");
  const std::string svg((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(svg, StartsWith("<svg"));
  for (const char* part : {"budgets", "threshold", "topk", "share of the FLOPs of full depth"})
    EXPECT_THAT(svg, HasSubstr(part));
}

// The model's longest context is 64 tokens.
TEST_F(EvalCommand, SequencesBeyondTheModelsLongestAreSaid) {
  put("long.txt", std::string(200, 'x'));
  const auto said = [&](const std::string& flags) {
    const Outcome outcome = eval("@llama --quiet " + flags, "2>&1 >/dev/null");
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return outcome.text;
  };
  const std::string packed = "--perplexity @long.txt --sequence-length ", rolling = "--rolling @long.txt -c ";
  EXPECT_EQ(said(packed + "65"), "fathom eval: --sequence-length 65 is beyond the model's longest, 64\n");
  EXPECT_EQ(said(packed + "64"), "");
  EXPECT_EQ(said(rolling + "65"), "fathom eval: --context 65 is beyond the model's longest, 64\n");
  EXPECT_EQ(said(rolling + "64"), "");
}

TEST_F(EvalCommand, JsonIsPrintedOrWritten) {
  write_model("m\xff", testing_plan::tiny());
  const Outcome printed =
      eval("'@m\xff' --perplexity @text.txt --sequence-length 16 --json -o @out.json", "2>/dev/null");
  ASSERT_EQ(printed.code, 0) << printed.text;
  const nlohmann::json out = nlohmann::json::parse(printed.text);
  EXPECT_EQ(out, json("out.json"));
  EXPECT_EQ(out["config"]["model"], path_ + "/m\xEF\xBF\xBD") << "what is no UTF-8 is replaced";
}

// A name that fits, but not with the ending of a file that is being written.
TEST_F(EvalCommand, WhatWasFoundIsPrintedBeforeFilesAreWritten) {
  const Outcome outcome =
      eval("@llama --perplexity @text.txt --sequence-length 16 --quiet --output @" + std::string(250, 'x'));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, StartsWith("|Tasks "));
  EXPECT_THAT(outcome.text, HasSubstr("File name too long"));
}

TEST_F(EvalCommand, ItemsReplaceAFileInOneStep) {
  put("items.jsonl", "old\n");
  fs::create_hard_link(path_ + "/items.jsonl", path_ + "/other-name");
  ASSERT_EQ(eval("--tasks piqa --data @data --write-items @items.jsonl").code, 0);
  std::ifstream items(path_ + "/items.jsonl"), other(path_ + "/other-name");
  std::string first, old;
  std::getline(items, first);
  std::getline(other, old);
  EXPECT_EQ(nlohmann::json::parse(first)["task"], "piqa");
  EXPECT_EQ(old, "old") << "nothing was written into the file that was there";
}

TEST_F(EvalCommand, TheHelpSaysTheDefaults) {
  const Outcome help = eval("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"=256", "=threshold", "--kv-type TEXT:{f32,bf16}=f32", "}=fast", "]=0", "=text"})
    EXPECT_THAT(help.text, HasSubstr(part));
}

TEST_F(EvalCommand, RefusesInOneSentence) {
  put("bad/piqa/val.jsonl", "{\"goal\": \"x\"}\n");
  const struct {
    const char* arguments;
    int code;
    const char* message;
  } cases[] = {
      {"", 2, "eval needs --tasks, --perplexity or --rolling"},
      {"--rolling @text.txt", 2, "eval needs MODEL, a model directory or the directory of a run"},
      {"@llama", 2, "eval needs --tasks, --perplexity or --rolling"},
      {"@llama --tasks piqa", 2, "--tasks piqa needs --data"},
      {"@llama --tasks pica --data @data", 2, "unknown task \"pica\", expected one of lambada_openai"},
      {"@llama --tasks hellaswag --data @data", 1, "/data/hellaswag: holds no validation.jsonl or val.jsonl"},
      {"@llama --tasks piqa --data @bad", 1, "/bad/piqa/val.jsonl: line 1: no field \"sol1\", only goal"},
      {"@llama --tasks piqa --data @data --num-fewshot 2", 2, "--num-fewshot: piqa has no rows for examples"},
      {"@llama --tasks piqa --data @data --routing topk", 1, "--routing: this model has no routed recursion"},
      {"@mor --tasks piqa --data @data --routing replay", 2, "replay"},
      {"@llama --tasks piqa --data @data -c 3", 1, "the context is limited to 3"},
      {"@llama --perplexity @none", 1, "/none: neither a file nor a directory"},
      {"@llama --perplexity @text.txt --sequence-length 500", 1, "not even one row of 501"},
      {"@llama --perplexity @text.txt --compute-budget 0.5", 1,
       "--compute-budget: this model has no routed recursion"},
      {"@llama --perplexity @text.txt --routing-agreement", 1,
       "--routing-agreement: this model has no routed recursion"},
      {"@mor --rolling @text.txt --compute-budget 0.5", 2, "--compute-budget is for --perplexity"},
      {"@mor --perplexity @text.txt --plot @x.svg", 2, "--plot is for --compute-budget"},
      {"@mor --perplexity @text.txt --compute-budget 0.5,1.5", 2, "1.5"},
      {"@mor --perplexity @text.txt --sequence-length 16 --compute-budget 0.5 --calibration-rows 4 --quiet",
       1, "--calibration-rows: found 4, expected fewer than the 4 packed rows"},
      {"@mor --perplexity @text.txt --sequence-length 16 --compute-budget 0.5 -L 1 --quiet", 1,
       "--compute-budget: one packed row, expected another one to find the thresholds on"},
      {"@llama --rolling @text.txt --by-context 8", 2, "--by-context is for --perplexity"},
      {"@llama --rolling @text.txt --log-samples @x", 2, "--log-samples is for --tasks"},
      {"@none --rolling @text.txt", 1, "/none is not a directory"},
      {"@llama --tasks piqa --data @data -L -1", 2, "-1"},
      {"@llama --tasks phonebook --entries 2", 2, "the least number of entries is 2, expected 3 to 1000000"},
      {"@llama --tasks phonebook --batches 3", 2, "the number of batches is 3, expected 4 to 1000000"},
      {"@llama --tasks phonebook --phonebook-mode loud", 2, "loud"},
      {"@llama --tasks phonebook --entries 8 --lengths 2", 2, "--entries and --lengths exclude each other"},
      {"@llama --tasks phonebook --limit 2", 2, "--limit is not for phonebook"},
      {"@mor --tasks phonebook --routing topk", 2, "--routing topk chooses among the rows of a call"},
      {"@llama --tasks phonebook --entries 20 --batches 4 --quiet", 1,
       "fathom: item 0 of phonebook_20: a prompt of "},
      {"@llama --tasks phonebook --entries 20 --batches 4 --context 1073741824 --max-tokens 1073741824 "
       "--quiet",
       1, "/llama: a context of 1073741824 tokens, in calls of up to 256 rows, needs about "},
      {"@llama --tasks phonebook --entries 20 --batches 4 --context 1073741824 --max-tokens 1073741824 "
       "--quiet",
       1, " MiB are free; use a smaller --context or --chunk"},
      {"@llama --tasks aime24 --data @data", 1, "has no chat template; --chat-template names one of phi"},
      {"@llama --tasks piqa --data @data --samples 2", 2,
       "--samples is for tasks whose answers are written, such as aime24"},
      {"@llama --tasks aime24 --data @data --samples 10001", 2,
       "--samples: '10001' is not a whole number of 1 to 10000"},
      {"@llama --tasks piqa --data @data --entries 8", 2, "--entries is for --tasks phonebook"},
      {"@llama --tasks phonebook --write-items @x", 2, "--write-items writes the items of tasks and scores"},
      {"--rolling @text.txt --write-items @x", 2, "--write-items is for --tasks"},
      {"--tasks phonebook --write-items @x --output @y", 2, "and scores nothing: without --output"},
      {"--tasks phonebook --write-items @x --json", 2, "without --json"},
      {"--tasks phonebook --write-items @x --log-samples @y", 2, "without --log-samples"},
      {"--tasks phonebook --write-items @x --dtype int8", 2, "without --dtype"},
      {"--tasks phonebook --write-items @x --samples 2", 2, "without --samples"},
      {"--tasks phonebook --write-items @x --temperature 1", 2, "without --temperature"},
      {"@llama --rolling @text.txt --sequence-length 8", 2, "--sequence-length is for --perplexity"},
      {"@llama --rolling @text.txt --keep-documents-apart", 2, "--keep-documents-apart is for --perplexity"},
      {"@llama --tasks piqa --data @data --label-inside-row", 2, "--label-inside-row is for --perplexity"},
      {"@llama --rolling @text.txt --data @data", 2, "--data is for --tasks"},
      {"@llama --tasks phonebook --data @data", 2, "--data is for tasks whose items are read"},
      {"@llama --tasks piqa --data @data --text-field x", 2, "--text-field is for --perplexity or --rolling"},
      {"@mor --perplexity @text.txt --compute-budget nan", 2, "'nan' is not a number of 1e-06 to 1"},
      {"@llama --rolling @text.txt --limit 9223372036854775808", 2,
       "'9223372036854775808' is not a whole number of at least 0 and below 2^63"},
      {"@llama --rolling @text.txt --document-separator ''", 2, "--document-separator: an empty text"},
      {"@llama --tasks piqa --data @data --routing threshold", 1,
       "--routing: this model has no routed recursion"},
      {"@llama --rolling @text.txt --threads 4097", 2, "is not a whole number of 0 to 4096"},
      {"@llama --rolling @text.txt --json @x.json", 2, "x.json"},
      {"@none --rolling @text.txt --output @no/x.json", 1, "/no/x.json: cannot be written to the folder "},
      {"@none --tasks piqa --data @data --log-samples @no/x", 1, "/no/x: cannot be written to the folder "},
      {"--tasks phonebook --write-items @no/x", 1, "/no/x: cannot be written to the folder "},
      {"@mor --perplexity @text.txt --compute-budget 0.5 --plot @data", 1,
       "/data is a directory, expected a file"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = eval(c.arguments);
    EXPECT_EQ(outcome.code, c.code) << c.arguments << ": " << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(c.message));
    EXPECT_THAT(outcome.text, StartsWith("fathom"));
    EXPECT_EQ(std::ranges::count(outcome.text, '\n'), 1) << outcome.text;
  }
}

TEST_F(EvalCommand, CheckTensorsRefusesWeightsThatAreNoNumbers) {
  std::string refusal;
  cli::testing::write_spoiled_model(path_ + "/spoiled", testing_plan::tiny(), refusal);
  const std::string rest = " --perplexity @text.txt --sequence-length 16 --quiet";
  EXPECT_EQ(eval("@spoiled" + rest).code, 0);
  EXPECT_EQ(eval("@llama --check-tensors" + rest).code, 0);
  const Outcome refused = eval("@spoiled --check-tensors" + rest);
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.text, "fathom: " + refusal);
}

TEST_F(EvalCommand, StopsAtASignalWithoutResults) {
  std::string many;
  for (int i = 0; i < 20000; ++i)
    many += R"({"goal": "goal )" + std::to_string(i) +
            R"(", "sol1": "first", "sol2": "the other", "label": 0})" + "\n";
  put("many/piqa/validation.jsonl", many);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const std::string model = path_ + "/llama", data = path_ + "/many", out = path_ + "/stopped.json";
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe[1], STDOUT_FILENO);
    ::dup2(pipe[1], STDERR_FILENO);
    ::execl(FATHOM_BIN_DIR "/fathom", "fathom", "eval", model.c_str(), "--tasks", "piqa", "--data",
            data.c_str(), "--output", out.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(pipe[1]);
  std::string text;
  bool signalled = false;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = ::read(pipe[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(got));
    if (!signalled && text.find("of memory") != std::string::npos) {
      signalled = true;
      ASSERT_EQ(::kill(child, SIGINT), 0);
    }
  }
  ::close(pipe[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(signalled) << text;
  ASSERT_TRUE(WIFEXITED(status)) << text;
  EXPECT_EQ(WEXITSTATUS(status), 130) << text;
  EXPECT_THAT(text, HasSubstr("of 20000 items of piqa; nothing is reported"));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace fathom
