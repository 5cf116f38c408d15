// Recipes: what is said is what is run, what is wrong is named.
#include "train/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::train {
namespace {

using ::testing::HasSubstr;

const std::string kModel = "model = \"" FATHOM_SOURCE_DIR "/configs/models/tiny/llama.toml\"\n";

Result<RunConfig> parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_run_config(kModel + text, overrides, ".");
}

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const Result<RunConfig> config = parse(text, overrides);
  return config.ok() ? "accepted" : config.error().message;
}

const std::string kMixture = R"(
[data]
sequence_length = 64
[[data.mixture]]
paths = "books/old tales.txt"
weight = 0.75
[[data.mixture]]
name = "code"
paths = ["a.jsonl", "b/"]
weight = 3
)";

void expect_mixture(const RunConfig& config) {
  const std::vector<SourceConfig>& sources = config.data.sources;
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources[0].name, "old_tales");
  EXPECT_EQ(sources[0].weight, 0.75);
  EXPECT_EQ(sources[1].name, "code");
  EXPECT_EQ(sources[1].paths, (std::vector<std::string>{"a.jsonl", "b/"}));
  EXPECT_EQ(sources[1].weight, 3);
}

TEST(RunConfig, AMixtureIsAListOfSources) {
  const Result<RunConfig> config = parse(kMixture);
  ASSERT_TRUE(config.ok()) << config.error().message;
  expect_mixture(*config);
}

TEST(RunConfig, TrainIsAMixtureOfOne) {
  const Result<RunConfig> config = parse("[data]\ntrain = [\"a\", \"b\"]\ntext_field = \"body\"\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  ASSERT_EQ(config->data.sources.size(), 1U);
  EXPECT_EQ(config->data.sources[0].name, "train");
  EXPECT_EQ(config->data.sources[0].paths, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config->data.text_field, "body");
}

TEST(RunConfig, TheResolvedRecipeSaysTheSame) {
  for (const std::string& text :
       {kMixture, std::string("[data]\ntrain = \"a\"\n[train]\ngradient_checkpointing = true\n"),
        std::string("[data]\ntrain = \"a\"\nkeep_documents_apart = true\nsegments_of_row = true\n"
                    "order = \"file_groups\"\ngroup_files = 3\n[train]\nlabel_smoothing = 0.1\n"
                    "attention_dropout = 0.05\nattention_dropout_from = 7\n"
                    "cross_attention_dropout = 0.25\n"),
        std::string("[data]\ntrain = \"a\"\n[optimizer]\ndecay = \"parametrisation\"\n"
                    "[schedule]\nper_micro_batch = true\nbase_learning_rate = 1e-3\n")}) {
    const Result<RunConfig> config = parse(text);
    ASSERT_TRUE(config.ok()) << config.error().message;
    std::string resolved = to_toml(*config);
    const size_t model = resolved.find("\"config.json\"");  // lies beside the resolved recipe of a run
    const size_t quoted = model == std::string::npos ? resolved.find("'config.json'") : model;
    ASSERT_NE(quoted, std::string::npos) << resolved;
    resolved.replace(quoted, 13, "\"" FATHOM_SOURCE_DIR "/configs/models/tiny/llama.toml\"");
    const Result<RunConfig> again = parse_run_config(resolved, {}, ".");
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(to_toml(*again), to_toml(*config));
    EXPECT_EQ(again->data.sources.size(), config->data.sources.size());
    EXPECT_EQ(again->train.gradient_checkpointing, config->train.gradient_checkpointing);
  }
}

TEST(RunConfig, OverridesReplaceKeys) {
  const Result<RunConfig> config = parse(
      "[data]\n", {R"(data.mixture=[{paths = "x.txt"}, {paths = "y.txt", weight = 2}])", "train.steps=7"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->data.sources[1].name, "y");
  EXPECT_EQ(config->data.sources[0].weight, 1);
  EXPECT_EQ(config->train.steps, 7);
  EXPECT_EQ(config->schedule.total_steps, 7);
}

// Decoder-Hybrid-Decoder 7.2; the tiny model has no muP, so the depth does not count.
TEST(RunConfig, ABaseRateIsScaledByTheBatch) {
  const std::string text =
      "[data]\ntrain = \"a\"\nsequence_length = 256\n[train]\nrows = 8\naccumulation = 2\n";
  const Result<RunConfig> config =
      parse(text, {"schedule.base_learning_rate=1e-3", "schedule.base_batch_tokens=1024"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_DOUBLE_EQ(config->schedule.peak, 2e-3);
  EXPECT_EQ(refusal(text, {"schedule.base_learning_rate=1e-3", "schedule.learning_rate=1e-3"}),
            "schedule.learning_rate and schedule.base_learning_rate are both given, expected one of them");
  EXPECT_EQ(
      refusal(text, {"schedule.base_learning_rate=3e38", "schedule.base_batch_tokens=1"}),
      "schedule.base_learning_rate gives the model and its batch a learning rate of 1.92e+40, expected 0 "
      "to 3.402823466e+38");
}

TEST(RunConfig, SegmentsAreDocumentsKeptApart) {
  EXPECT_EQ(refusal("[data]\ntrain = \"a\"\nsegments_of_row = true\n"),
            "data.segments_of_row is for data.keep_documents_apart = true");
}

TEST(RunConfig, WhatIsWrongWithAMixtureIsNamed) {
  EXPECT_EQ(refusal("[data]\n"), "data.train is missing: text files, directories or token shards");
  EXPECT_EQ(refusal(kMixture, {"data.train=x"}),
            "data.train and data.mixture are both given, expected one of them");
  EXPECT_THAT(refusal("[data]\nmixture = 3\n"), HasSubstr("data.mixture is not a list of tables"));
  EXPECT_THAT(refusal("[data]\nmixture = [3]\n"), HasSubstr("data.mixture[0] is not a table"));
  EXPECT_THAT(refusal("[[data.mixture]]\nweight = 1\n"), HasSubstr("data.mixture[0].paths is missing"));
  EXPECT_EQ(refusal("[[data.mixture]]\npaths = \"a\"\nweigth = 1\n"), "unknown key data.mixture[0].weigth");
  EXPECT_EQ(refusal("[[data.mixture]]\npaths = \"a\"\nweight = \"1\"\n"),
            "data.mixture[0].weight is not a number");
  EXPECT_EQ(refusal("[[data.mixture]]\npaths = \"a\"\nweight = 0\n"),
            "data.mixture[0].weight is 0, expected at least 1.175494351e-38");
  EXPECT_EQ(refusal("[[data.mixture]]\npaths = \"a\"\nweight = inf\n"),
            "data.mixture[0].weight is inf, expected at most 1000000000");
  EXPECT_THAT(refusal("[[data.mixture]]\npaths = \"a\"\nname = \"a/b\"\n"),
              HasSubstr("expected letters, digits"));
  EXPECT_THAT(refusal("[[data.mixture]]\npaths = \"x/a.txt\"\n[[data.mixture]]\npaths = \"y/a.txt\"\n"),
              HasSubstr("there are two sources a; give them a name"));
}

}  // namespace
}  // namespace fathom::train
