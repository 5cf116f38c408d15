// fathom generate as a user runs it: depths of routed models, what controls them, and what is refused.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/command_testing.h"
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
  json json_of(const std::string& arguments) const {
    const Outcome outcome =
        generate(arguments + " --prompt 'a prompt of some length' --json --ignore-eos --seed 3", "");
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
      {"@llama --replay-depths @few.json", "--replay-depths: this model has no routed recursion"},
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
