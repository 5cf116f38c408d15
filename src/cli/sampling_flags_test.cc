#include "cli/sampling_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr kernels::SamplingParams kUsual{.temperature = 0.6F, .top_p = 0.95F, .seed = 3};

// The flags of a command after `arguments`.
struct Parsed {
  explicit Parsed(const std::string& arguments, SamplingDefaults defaults = SamplingDefaults::kOfModel) {
    add_sampling_flags(app, sampling, defaults);
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      refused = error.what();
    }
  }
  CLI::App app;
  kernels::SamplingParams sampling = kUsual;
  std::string refused;
};

TEST(SamplingFlags, TakeWhatCanBeSampledWith) {
  const Parsed parsed("--temperature 1e6 --top-k 2147483647 --top-p 0 --min-p 1 --seed 18446744073709551615");
  EXPECT_EQ(parsed.refused, "");
  EXPECT_EQ(parsed.sampling.temperature, 1e6F);
  EXPECT_EQ(parsed.sampling.top_k, 2147483647);
  EXPECT_EQ(parsed.sampling.top_p, 0);
  EXPECT_EQ(parsed.sampling.min_p, 1);
  EXPECT_EQ(parsed.sampling.seed, 18446744073709551615U);
  for (const char* bad :
       {"--temperature inf", "--temperature nan", "--temperature=-0.1", "--temperature 1e7", "--top-k 1.5",
        "--top-k=-1", "--top-k 2147483648", "--top-p nan", "--top-p 1.1", "--min-p nan", "--min-p=-1",
        "--seed=-1", "--seed 1.5", "--seed 1e30", "--seed 18446744073709551616"}) {
    const Parsed refused(bad);
    EXPECT_THAT(refused.refused, HasSubstr("is not a")) << bad;
  }
}

TEST(SamplingFlags, SayWhatIsTakenWithoutThem) {
  Parsed of_model(""), of_task("", SamplingDefaults::kOfTask);
  const std::string help = of_model.app.help();
  for (const char* part : {"generation_config.json, else 0.6)", "generation_config.json, else 0.95)",
                           "generation_config.json, else 0)"})
    EXPECT_THAT(help, HasSubstr(part));
  EXPECT_THAT(help, ContainsRegex("--seed.*(=|\\[)3"));
  EXPECT_THAT(of_task.app.help(), HasSubstr("(default: the task's)"));
  EXPECT_THAT(of_task.app.help(), Not(HasSubstr("0.6")));
}

TEST(SamplingFlags, LeaveWhatIsOpenToTheModel) {
  const nlohmann::json config = {
      {"temperature", 0.25}, {"top_k", 20}, {"top_p", 0.5}, {"min_p", 0.125}, {"eos_token_id", 7}};
  Parsed none(""), some("--temperature 2 --top-k 0");
  ASSERT_TRUE(take_recommended_sampling(none.app, config, none.sampling).ok());
  EXPECT_EQ(none.sampling.temperature, 0.25F);
  EXPECT_EQ(none.sampling.top_k, 20);
  EXPECT_EQ(none.sampling.top_p, 0.5F);
  EXPECT_EQ(none.sampling.min_p, 0.125F);
  EXPECT_EQ(none.sampling.seed, 3U);
  ASSERT_TRUE(take_recommended_sampling(some.app, config, some.sampling).ok());
  EXPECT_EQ(some.sampling.temperature, 2);
  EXPECT_EQ(some.sampling.top_k, 0);
  EXPECT_EQ(some.sampling.top_p, 0.5F);
  Parsed without("");
  ASSERT_TRUE(take_recommended_sampling(without.app, nullptr, without.sampling).ok());
  EXPECT_EQ(without.sampling.temperature, kUsual.temperature);
  EXPECT_EQ(without.sampling.top_p, kUsual.top_p);
}

TEST(SamplingFlags, MinusOneIsOffInAModelsFile) {
  Parsed none(""), some("--top-k 7");
  none.sampling.top_k = 5;
  const nlohmann::json config = {{"top_k", -1}};
  ASSERT_TRUE(take_recommended_sampling(none.app, config, none.sampling).ok());
  EXPECT_EQ(none.sampling.top_k, 0);
  ASSERT_TRUE(take_recommended_sampling(some.app, config, some.sampling).ok());
  EXPECT_EQ(some.sampling.top_k, 7);
}

TEST(SamplingFlags, TheLengthIsTheRequestsThenTheModelsThenTheUsual) {
  const auto length = [](const char* arguments, const nlohmann::json& config) {
    CLI::App app;
    int64_t most = 128;
    app.add_option("--max-tokens,-n", most);
    app.parse(arguments);
    const Status status = take_recommended_length(app, config, most);
    return status.ok() ? std::to_string(most) : status.error().message;
  };
  const nlohmann::json config = {{"max_new_tokens", 2048}};
  EXPECT_EQ(length("-n 5", config), "5");
  EXPECT_EQ(length("", config), "2048");
  EXPECT_EQ(length("", nullptr), "128");
  EXPECT_EQ(length("", {{"max_new_tokens", nullptr}}), "128");
  EXPECT_EQ(length("-n 5", {{"max_new_tokens", "many"}}), "5");
  for (const char* bad : {"0", "-1", "1.5", "\"many\"", "18446744073709551615"}) {
    EXPECT_EQ(length("", {{"max_new_tokens", nlohmann::json::parse(bad)}}),
              "generation_config.json: max_new_tokens is " + std::string(bad) +
                  ", expected a whole number of at least 1");
  }
}

TEST(SamplingFlags, AModelThatIsNotToBeSampledTakesTheMostProbable) {
  const nlohmann::json config = {{"temperature", 0.25}, {"do_sample", false}};
  Parsed none(""), some("--temperature 2");
  ASSERT_TRUE(take_recommended_sampling(none.app, config, none.sampling).ok());
  EXPECT_EQ(none.sampling.temperature, 0);
  ASSERT_TRUE(take_recommended_sampling(some.app, config, some.sampling).ok());
  EXPECT_EQ(some.sampling.temperature, 2);
}

TEST(SamplingFlags, RefuseAModelsNumbersOutOfRange) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"temperature": "warm"})",
       "generation_config.json: temperature is \"warm\", expected a number from 0 to 1000000.0"},
      {R"({"temperature": 1e7})",
       "generation_config.json: temperature is 10000000.0, expected a number from 0 to 1000000.0"},
      {R"({"top_p": 1.5})", "generation_config.json: top_p is 1.5, expected a number from 0 to 1.0"},
      {R"({"top_k": -2})", "generation_config.json: top_k is -2, expected a number from 0 to 2147483647.0"},
  };
  for (const auto& [config, sentence] : cases) {
    Parsed parsed("");
    const Status status =
        take_recommended_sampling(parsed.app, nlohmann::json::parse(config), parsed.sampling);
    ASSERT_FALSE(status.ok()) << sentence;
    EXPECT_EQ(status.error().message, sentence);
  }
}

}  // namespace
}  // namespace fathom::cli
