// Training on mixtures and on JSON Lines, from text to a resumed run.
#include <gtest/gtest.h>

#include "small_run.h"

namespace fathom::testing {
namespace {

// Three sources, two of them JSON Lines, in the shares 5/8, 2/8, 1/8.
class TrainData : public ::testing::Test {
 protected:
  TrainData() : small_("train-data") {
    std::ofstream tales(small_.path("tales.jsonl")), facts(small_.path("facts.jsonl"));
    for (int i = 0; i < 200; ++i) {
      tales << "{\"id\": " << i << ", \"text\": \"once there was a king who had " << i << " daughters\"}\n";
      facts << "{\"text\": \"the number " << i << " is followed by " << i + 1 << "\"}\n";
    }
    std::string recipe = "model = \"model.toml\"\n[data]\nsequence_length = 32\n";
    const std::pair<const char*, int> sources[] = {{"tales.jsonl", 5}, {"facts.jsonl", 2}, {"text.txt", 1}};
    for (const auto& [file, weight] : sources) {
      recipe += "[[data.mixture]]\npaths = \"" + small_.path(file) +
                "\"\nweight = " + std::to_string(weight) + "\n";
    }
    std::ofstream(small_.recipe())
        << recipe << "[train]\nsteps = 12\nrows = 4\nthreads = 1\nsave_every = 5\nkeep = 9\n";
  }
  std::vector<nlohmann::json> steps(const std::string& out) const {
    std::vector<nlohmann::json> found;
    for (nlohmann::json& entry : small_.metrics(out)) {
      entry.erase("seconds");
      if (entry["kind"] == "step") found.push_back(entry);
    }
    return found;
  }
  SmallRun small_;
};

TEST_F(TrainData, SourcesAreTrainedOnInTheirShares) {
  const Output output = small_.train("run");
  ASSERT_EQ(output.code, 0) << output.text;
  EXPECT_NE(output.text.find("62.50 % tales: "), std::string::npos) << output.text;
  const std::vector<nlohmann::json> log = steps("run");
  ASSERT_EQ(log.size(), 12U);
  for (const nlohmann::json& step : log) {
    const double rows = 4 * (step["step"].get<double>() + 1);
    for (const auto& [name, share] :
         {std::pair{"tales", 5.0 / 8}, std::pair{"facts", 2.0 / 8}, std::pair{"text", 1.0 / 8}}) {
      EXPECT_NEAR(step["source_tokens"][name].get<double>() / 32, share * rows, 0.76) << name;
    }
    EXPECT_EQ(step["tokens"].get<double>(), 32 * rows);
  }
  std::ifstream table(small_.path("run/metrics.csv"));
  std::string head;
  std::getline(table, head);
  EXPECT_NE(head.find("tokens_tales,tokens_facts,tokens_text"), std::string::npos) << head;
}

TEST_F(TrainData, AResumedMixtureLogsTheSameNumbers) {
  ASSERT_EQ(small_.train("whole").code, 0);
  ASSERT_EQ(small_.train("cut", {"--train.steps=5", "--schedule.total_steps=12"}).code, 0);
  const Output resumed = small_.train("cut", {"--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(steps("cut"), steps("whole"));
}

TEST_F(TrainData, AMixtureIsNotResumedWithOtherWeights) {
  ASSERT_EQ(small_.train("run", {"--train.steps=5", "--schedule.total_steps=12"}).code, 0);
  std::string mixture = "--data.mixture=[";
  for (const char* file : {"tales.jsonl", "facts.jsonl", "text.txt"})
    mixture += "{paths=\"" + small_.path(file) + "\"},";
  const Output output = small_.train("run", {"--resume", mixture + "]"});
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.text.find("cannot resume: the saved share of tales is 0.625000, this run's is 0.333333"),
            std::string::npos)
      << output.text;
}

TEST_F(TrainData, OtherSettingsOfTheSameTextMakeOtherTokens) {
  ASSERT_EQ(small_.train("run", {"--train.steps=1"}).code, 0);
  std::filesystem::remove_all(small_.path("run/checkpoint-1"));
  ASSERT_EQ(small_.train("run", {"--train.steps=1", "--data.text_field=id"}).code, 1)
      << "a number is no text";
  const auto shards = [&] {
    return std::distance(std::filesystem::directory_iterator(small_.path("run/data")), {});
  };
  EXPECT_EQ(shards(), 3);
  ASSERT_EQ(small_.train("run", {"--train.steps=1"}).code, 0);
  EXPECT_EQ(shards(), 3) << "the same settings use what is there";
}

TEST_F(TrainData, ABadLineIsNamedAndLeavesNoShard) {
  std::ofstream(small_.path("facts.jsonl"), std::ios::app) << "{\"text\": null}\n";
  const Output output = small_.train("run");
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.text.find("facts.jsonl, line 201: \"text\" is null, expected a string"), std::string::npos)
      << output.text;
  for (const auto& entry : std::filesystem::directory_iterator(small_.path("run/data")))
    EXPECT_EQ(entry.path().filename().string().find("facts"), std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
