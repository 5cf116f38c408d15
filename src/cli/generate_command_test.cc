// fathom generate as a user runs it: depths of routed models, what controls them, and what is refused.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
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
using nlohmann::json;

class GenerateCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(path_);
    write_model("llama", testing_plan::tiny());
    write_model("mor", testing_plan::tiny_mor(Sharing::kMiddleCycle, 3));
    ModelSpec token = testing_plan::tiny_mor(Sharing::kMiddleCycle, 3);
    token.router = default_router(RouterKind::kTokenChoice);
    write_model("token", token);
  }
  void TearDown() override { fs::remove_all(path_); }

  void put(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }

  void write_model(const std::string& name, ModelSpec spec) const {
    spec.initializer_range = 0.3;
    cli::testing::write_random_model(path_ + "/" + name, spec);
  }

  // Words that begin with @ are paths in the test's folder.
  Outcome generate(const std::string& arguments, const std::string& streams = "2>&1") const {
    return cli::testing::run_fathom("generate " + cli::testing::in_folder(arguments, path_), streams);
  }
  json json_of(const std::string& arguments, const std::string& more = "--ignore-eos --seed 3") const {
    const Outcome outcome = generate(arguments + " --prompt 'a prompt of some length' --json " + more, "");
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return json::parse(outcome.text, nullptr, false);
  }

  std::string path_ =
      (fs::temp_directory_path() / ("fathom-generate-test-" + std::to_string(::getpid()))).string();
};

std::vector<int> ids_of(const json& text) {
  std::vector<int> ids;
  for (const json& token : text["tokens"]) ids.push_back(token["id"]);
  return ids;
}

TEST_F(GenerateCommand, JsonSaysWhatEachTokenTook) {
  const json text = json_of("@mor -n 12 --return-depths");
  EXPECT_EQ(text["routing"], "threshold");
  double depths = 0;
  double cheapest = 1e300, dearest = 0;
  int least = 9, most = 0;
  for (const json& token : text["tokens"]) {
    const int depth = token["depth"];
    depths += depth;
    if (depth < least) least = depth, cheapest = token["flops"];
    if (depth > most) most = depth, dearest = token["flops"];
    EXPECT_TRUE(token["score"].is_number());
  }
  ASSERT_GT(most, least);
  EXPECT_GT(dearest, cheapest);
  EXPECT_NEAR(text["mean_depth"], depths / 12, 1e-9);
  EXPECT_LT(text["flops_share"], 1);
  EXPECT_FALSE(json_of("@llama -n 3").contains("mean_depth"));
}

TEST_F(GenerateCommand, MeanDepthFollowsTheBudget) {
  for (const char* model : {"@mor", "@token"}) {
    for (double budget : {0.4, 0.6, 0.8, 1.0}) {
      const json text =
          json_of(std::string(model) + " -n 250 --context 300 --compute-budget " + std::to_string(budget));
      EXPECT_NEAR(text["mean_depth"], 3 * budget, 0.1) << model << " " << budget;
    }
  }
}

TEST_F(GenerateCommand, ReplayedDepthsGiveTheSameText) {
  for (const char* model : {"@mor", "@token"}) {
    const json text = json_of(std::string(model) + " -n 60 --compute-budget 0.6 --return-depths");
    put("depths.json", text.dump());
    const json again = json_of(std::string(model) + " -n 60 --replay-depths @depths.json --return-depths");
    EXPECT_EQ(again["routing"], "replay");
    EXPECT_EQ(again["text"], text["text"]);
    EXPECT_EQ(again["tokens"], text["tokens"]);
    // It ends where the known depths end, but for the token that the last of them draws.
    put("depths.json", again["prompt_depths"].dump());
    EXPECT_EQ(ids_of(json_of(std::string(model) + " -n 60 --replay-depths @depths.json")).size(), 1U);
  }
}

// What was decided by the clock is decided again by the file, beside text that is shown as it comes.
TEST_F(GenerateCommand, ARunByTheClockIsRecordedAndReplayed) {
  for (const char* model : {"@mor", "@token"}) {
    const std::string words =
        std::string(model) + " --prompt 'a prompt of some length' --ignore-eos --seed 3 -n 80";
    // Shifted by the clock or not, nobody can tell from the text: a time that cannot be met shifts for sure.
    const Outcome text = generate(words + " --target-latency-ms 0.000001 --record-depths @depths.json");
    ASSERT_EQ(text.code, 0) << text.text;
    EXPECT_NE(generate(words).text, text.text) << model;
    EXPECT_EQ(generate(words + " --replay-depths @depths.json").text, text.text) << model;
  }
  const Outcome nowhere = generate("@mor --prompt a --record-depths @none/depths.json", "2>&1 >/dev/null");
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_NE(nowhere.text.find("/none"), std::string::npos) << nowhere.text;
}

TEST_F(GenerateCommand, PublishedRoutingTakesEveryPassForATokenAlone) {
  const json text = json_of("@mor -n 10 --routing topk --return-depths");
  EXPECT_EQ(text["mean_depth"], 3);
  const std::vector<int> prompt = text["prompt_depths"];
  // 23 tokens at capacities 1, 2/3 and 1/3.
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), 3), 7);
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), 2), 15 - 7);
}

TEST_F(GenerateCommand, ATimeThatCannotBeMetTakesTheLeast) {
  const json text = json_of("@mor -n 150 --target-latency-ms 0.000001");
  EXPECT_LT(text["mean_depth"], 1.3);
}

TEST_F(GenerateCommand, RefusesInOneSentence) {
  put("zero.json", "[1, 0]");
  put("few.json", "[1, 2]");
  put("other.json", "{\"text\": \"\"}");
  const struct {
    std::string arguments, sentence;
    int code = 1;
  } rows[] = {
      {"@llama --compute-budget 0.5", "--compute-budget: this model has no routed recursion"},
      {"@llama --routing topk", "--routing: this model has no routed recursion"},
      {"@llama --routing threshold", "--routing: this model has no routed recursion"},
      {"@llama --replay-depths @few.json", "--replay-depths: this model has no routed recursion"},
      {"@llama --record-depths @few.json", "--record-depths: this model has no routed recursion"},
      {"@llama --target-latency-ms 5", "--target-latency-ms: this model has no routed recursion"},
      {"@mor --compute-budget 0.5 --target-latency-ms 5",
       "--compute-budget and --target-latency-ms exclude each other", 2},
      {"@mor --routing topk --compute-budget 0.5", "--routing topk and --compute-budget exclude each other",
       2},
      {"@mor --compute-budget 0.5 --max-depth 2", "--compute-budget and --max-depth exclude each other", 2},
      {"@mor --replay-depths @few.json --max-depth 2", "--replay-depths and --max-depth exclude each other",
       2},
      {"@none --file @few.json", "--prompt and --file exclude each other", 2},
      {"@mor --color never", "--color is for --return-depths without --json", 2},
      {"@mor --color always --return-depths --json", "--color is for --return-depths without --json", 2},
      {"@llama --context 4", "the prompt has 5 tokens, which leaves no room in --context 4"},
      {"@llama --context 5", "the prompt has 5 tokens, which leaves no room in --context 5"},
      {"@mor --routing topk --chunk 4",
       "--routing topk decides over all rows of a prompt, which cannot be cut: it has 5 tokens, --chunk is "
       "4"},
      {"@mor --replay-depths @zero.json",
       "@zero.json: depths[1]: found 0, expected a number of passes from 1 to 3"},
      {"@mor --replay-depths @few.json",
       "@few.json: holds 2 depths, expected one of each of the 5 tokens of the prompt"},
      {"@mor --replay-depths @other.json",
       "@other.json: expected what `fathom generate --json` prints of a routed model, or a list of depths"},
  };
  for (const auto& row : rows) {
    const Outcome outcome = generate(row.arguments + " --prompt hello", "2>&1 >/dev/null");
    EXPECT_EQ(outcome.code, row.code) << row.arguments;
    std::string sentence = row.sentence;
    if (sentence.starts_with("@")) sentence = path_ + "/" + sentence.substr(1);
    EXPECT_EQ(outcome.text, "fathom: " + sentence + "\n") << row.arguments;
  }
}

TEST_F(GenerateCommand, RefusesAContextThatNoMemoryHolds) {
  write_model("vast", cli::testing::vast_state());
  const Outcome outcome = generate("@vast -p hello -n 1 -c 1073741824", "2>&1 >/dev/null");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(
      outcome.text.find("fathom: " + path_ +
                        "/vast: a context of 1073741824 tokens, in calls of up to 5 rows, needs about "),
      std::string::npos)
      << outcome.text;
}

TEST_F(GenerateCommand, NumbersOfFlagsAreReadWhole) {
  for (const char* flags : {"--compute-budget nan", "--compute-budget 1.1", "--target-latency-ms nan",
                            "--target-latency-ms 0", "--chunk 100000000000000000000", "--context 1e3",
                            "--context 2000000000", "--max-tokens -1", "--threads 4097", "--max-depth 256"}) {
    const Outcome outcome = generate(std::string("@mor --prompt hello ") + flags);
    EXPECT_EQ(outcome.code, 2) << flags;
    EXPECT_NE(outcome.text.find("number"), std::string::npos) << outcome.text;
  }
}

// The model's longest context is 64 tokens.
TEST_F(GenerateCommand, ATextEndsWithTheContext) {
  const std::string prompt = " --ignore-eos --json --prompt " + std::string(63, 'a');
  const Outcome full = generate("@llama -n 5" + prompt + "b");
  EXPECT_EQ(full.code, 1);
  EXPECT_EQ(full.text,
            "fathom: the prompt has 64 tokens, which leaves no room in the model's context of 64\n");
  EXPECT_EQ(generate("@llama -n 0" + prompt + "b").code, 0);
  for (const char* count : {"5", "9223372036854775807"}) {
    const Outcome one = generate(std::string("@llama -n ") + count + prompt);
    ASSERT_EQ(one.code, 0) << one.text;
    EXPECT_EQ(json::parse(one.text)["tokens"].size(), 1U);
  }
  const Outcome beyond = generate("@llama -n 5 -c 70" + prompt + "b", "2>&1 >/dev/null");
  EXPECT_EQ(beyond.code, 0);
  EXPECT_EQ(beyond.text, "fathom generate: --context 70 is beyond the model's longest, 64\n");
  EXPECT_EQ(generate("@llama -n 5 -c 64 --prompt a", "2>&1 >/dev/null").text, "");
}

// What tokens [first, end) add to the text.
std::string pieces_of(const json& text, size_t first, size_t end) {
  std::string pieces;
  for (size_t i = first; i < end; ++i) pieces += text["tokens"][i]["text"].get<std::string>();
  return pieces;
}

TEST_F(GenerateCommand, AStopStringEndsTheTextBeforeIt) {
  const std::string greedy = "@llama -n 20 --temperature 0";
  const json full = json_of(greedy, "--ignore-eos");
  ASSERT_EQ(full["tokens"].size(), 20U);
  EXPECT_EQ(full["finish_reason"], "length");
  const std::string text = full["text"], before = pieces_of(full, 0, 10);
  // Words of a shell are without a zero byte and a line break at the end.
  const std::string stop = pieces_of(full, 10, 13), later = pieces_of(full, 14, 17);
  for (const std::string& word : {stop, later})
    ASSERT_EQ(word.find_first_of(std::string("\0\n", 2)), std::string::npos) << json(word);
  ASSERT_EQ(text.find(stop), before.size()) << json(text);
  put("stop", stop);
  put("later", later);
  const std::string flag = " --stop \"$(cat @stop)\"", other = " --stop \"$(cat @later)\"";
  for (const std::string& flags : {flag, other + flag, flag + other}) {
    const json cut = json_of(greedy + flags, "--ignore-eos");
    EXPECT_EQ(cut["text"], before) << flags;
    EXPECT_EQ(cut["finish_reason"], "stop") << flags;
    EXPECT_EQ(cut["tokens"].size(), 13U) << flags;
  }
  const Outcome shown = generate(greedy + flag + " --ignore-eos --prompt 'a prompt of some length'", "");
  EXPECT_EQ(shown.text, "a prompt of some length" + before + "\n");
  // What only begins like a stop string at the end of the text belongs to it.
  put("stop", pieces_of(full, 19, 20) + " and what never comes");
  const json whole = json_of(greedy + flag, "--ignore-eos");
  EXPECT_EQ(whole["text"], text);
  EXPECT_EQ(whole["finish_reason"], "length");
}

TEST_F(GenerateCommand, TheModelsEndTokenEndsTheText) {
  const std::string greedy = "@llama -n 8 --temperature 0";
  const json full = json_of(greedy, "--ignore-eos");
  const std::vector<int> ids = ids_of(full);
  ASSERT_EQ(ids.size(), 8U);
  ASSERT_NE(ids[0], ids[1]);
  put("llama/generation_config.json", "{\"eos_token_id\": " + std::to_string(ids[1]) + "}");
  const json ended = json_of(greedy, "");
  EXPECT_EQ(ids_of(ended), (std::vector<int>{ids[0]}));
  EXPECT_EQ(ended["finish_reason"], "stop");
  const json ignored = json_of(greedy, "--ignore-eos");
  EXPECT_EQ(ignored["tokens"], full["tokens"]);
  EXPECT_EQ(ignored["text"], full["text"]);
  EXPECT_EQ(ignored["finish_reason"], "length");
}

TEST_F(GenerateCommand, SamplesAsTheFlagsSayOrElseTheModel) {
  const auto sample = [&](const std::string& flags) {
    return ids_of(json_of("@llama -n 20 " + flags, "--ignore-eos"));
  };
  const std::vector<int> greedy = sample("--temperature 0"), usual = sample("--seed 3"),
                         cold = sample("--seed 3 --temperature 0.3");
  EXPECT_EQ(sample("--temperature 0 --seed 4"), greedy);
  EXPECT_EQ(sample("--seed 3"), usual);
  EXPECT_EQ(sample("--seed 3 --temperature 0.8"), usual);
  EXPECT_NE(sample("--seed 4"), usual);
  EXPECT_NE(usual, greedy);
  EXPECT_NE(cold, usual);
  EXPECT_NE(cold, greedy);
  for (const char* flags : {"--top-k 1", "--top-p 0", "--min-p 1"})
    EXPECT_EQ(sample(std::string("--seed 3 ") + flags), greedy) << flags;
  const std::pair<const char*, const std::vector<int>&> recommended[] = {
      {R"({"temperature": 0.3})", cold},
      {R"({"do_sample": false})", greedy},
      {R"({"do_sample": true, "top_k": 1})", greedy}};
  for (const auto& [config, expected] : recommended) {
    put("llama/generation_config.json", config);
    EXPECT_EQ(sample("--seed 3"), expected) << config;
    EXPECT_EQ(sample("--seed 3 --temperature 0.8 --top-k 0"), usual) << config;
  }
}

TEST_F(GenerateCommand, IsAsLongAsTheFlagSaysOrElseTheModel) {
  put("llama/generation_config.json", R"({"max_new_tokens": 3})");
  EXPECT_EQ(ids_of(json_of("@llama", "--ignore-eos")).size(), 3U);
  EXPECT_EQ(ids_of(json_of("@llama -n 2", "--ignore-eos")).size(), 2U);
}

TEST_F(GenerateCommand, NoTokenGoesDeeperThanMaxDepth) {
  for (const int most : {1, 2, 3}) {
    const json text = json_of("@mor -n 40 --return-depths --max-depth " + std::to_string(most));
    std::vector<int> depths = text["prompt_depths"];
    EXPECT_EQ(depths.size(), 23U);
    for (const json& token : text["tokens"]) depths.push_back(token["depth"]);
    EXPECT_EQ(std::ranges::max(depths), most);
    EXPECT_LE(text["mean_depth"], most);
  }
  EXPECT_EQ(json_of("@mor -n 40 --max-depth 3")["tokens"], json_of("@mor -n 40")["tokens"]);
}

TEST_F(GenerateCommand, CheckTensorsRefusesWeightsThatAreNoNumbers) {
  std::string refusal;
  cli::testing::write_spoiled_model(path_ + "/spoiled", testing_plan::tiny(), refusal);
  EXPECT_EQ(generate("@spoiled --prompt hello -n 1").code, 0);
  EXPECT_EQ(generate("@llama --prompt hello -n 1 --check-tensors").code, 0);
  const Outcome refused = generate("@spoiled --prompt hello -n 1 --check-tensors");
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.text, "fathom: " + refusal);
}

TEST_F(GenerateCommand, LogitsThatAreNoNumbersEndInOneSentence) {
  std::string refusal;
  cli::testing::write_spoiled_model(path_ + "/spoiled", testing_plan::tiny(), refusal);
  std::ofstream(path_ + "/prompt") << "ab" << '\0';
  for (const std::string form : {"", " --json"}) {
    const Outcome outcome = generate("@spoiled --file @prompt -n 3" + form, "2>&1 >/dev/null");
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.text, ::testing::MatchesRegex(
                                  "fathom: after [0-9]+ tokens: the logit of token 0 is NaN or infinite; "
                                  "--check-tensors of fathom generate finds weights that are\n"));
  }
}

TEST_F(GenerateCommand, EmptyTextsOfFlagsAreRefused) {
  for (const std::string flag : {"--stop", "--file", "--replay-depths", "--record-depths"}) {
    const Outcome outcome = generate("@mor -n 1 " + flag + " ''");
    EXPECT_EQ(outcome.code, 2) << flag;
    EXPECT_EQ(outcome.text,
              "fathom generate: " + flag + ": an empty text; fathom generate --help lists what there is\n");
  }
}

TEST_F(GenerateCommand, TheLastTokenHasADepthIfItIsReadForIt) {
  for (const bool shown : {false, true}) {
    const json tokens = json_of(std::string("@mor -n 5") + (shown ? " --return-depths" : ""))["tokens"];
    ASSERT_EQ(tokens.size(), 5U);
    for (const char* key : {"depth", "score", "flops"}) {
      for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(tokens[i].contains(key)) << i << key;
      EXPECT_EQ(tokens[4].contains(key), shown) << key;
    }
  }
}

TEST_F(GenerateCommand, SeedsHaveAll64Bits) {
  EXPECT_EQ(json_of("@llama -n 1", "--seed 18446744073709551615")["seed"], 18446744073709551615U);
  const Outcome outcome = generate("@llama -n 1 -p a --seed 18446744073709551616");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.text.find("is not a whole number of at least 0 and below 2^64"), std::string::npos)
      << outcome.text;
}

TEST_F(GenerateCommand, AStopStringTakesOneWord) {
  const Outcome outcome = generate("--stop zzz @llama --stop yyy -p hi -n 3 -b 1");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_EQ(outcome.text.find("hi"), 0U) << outcome.text;
}

TEST_F(GenerateCommand, APathThatIsNotUtf8IsShownWithAReplacement) {
  write_model("m\xff", testing_plan::tiny());
  const json text = json_of("@m\xff -n 1");
  ASSERT_TRUE(text.is_object());
  EXPECT_NE(text["model"].get<std::string>().find("/m\uFFFD"), std::string::npos) << text["model"];
}

TEST_F(GenerateCommand, HelpSaysWhatIsTakenWithoutAFlag) {
  const std::string help = generate("--help").text;
  for (const char* value :
       {"--max-tokens INT:>= 0=128", "(default: the model's generation_config.json, else 0.8)",
        "--chunk INT:[1 - 1048576]=256", "--threads INT:[0 - 4096]=0", "--kv-type TEXT:{f32,bf16}=f32",
        "--rounding TEXT:{fast,reference}=fast", "--routing TEXT:{threshold,topk}=threshold",
        "--color TEXT:{auto,always,never}=auto"})
    EXPECT_NE(help.find(value), std::string::npos) << value << help;
}

TEST_F(GenerateCommand, RefusesAPromptThatIsTooLong) {
  const Outcome outcome = generate("@llama < /dev/zero", "2>&1 >/dev/null");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.text, "fathom: standard input: larger than the limit of 67108864 bytes\n");
}

// The flags reach the engine: log-probabilities are others, and only a little.
TEST_F(GenerateCommand, RoundsAsPublishedIfAsked) {
  write_model("phi", testing_plan::hybrid("phi4flash", 8));
  const auto first = [&](const std::string& flags) {
    const json text = json_of("@phi -n 1 --temperature 0 --dtype bf16 --kv-type bf16 " + flags);
    return text["tokens"][0]["logprob"].get<double>();
  };
  const double fast = first(""), reference = first("--rounding reference");
  EXPECT_NE(fast, reference);
  EXPECT_NEAR(fast, reference, 0.1);
  // One call: nothing reads the states that are rounded behind it.
  EXPECT_EQ(first("--rounding reference --state-dtype f32"), reference);
  EXPECT_NE(first("--rounding reference --chunk 5"), reference);
  EXPECT_EQ(first("--rounding reference --state-dtype f32 --chunk 5"), reference);
  const Outcome refused = generate("@llama --prompt x --rounding reference");
  EXPECT_EQ(refused.code, 3);
  EXPECT_EQ(
      refused.text,
      "fathom: --rounding reference: where the published code rounds is known of phi4flash, not of llama\n");
}

}  // namespace
}  // namespace fathom
