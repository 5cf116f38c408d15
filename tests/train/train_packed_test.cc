// The training rules of the hybrids' study together: packed files in groups, documents as segments of their
// rows, dropout of attention from a step on, a rate looked up for each micro-batch.
#include <gtest/gtest.h>

#include "small_run.h"

namespace fathom::testing {
namespace {

class TrainPacked : public ::testing::Test {
 protected:
  void SetUp() override {
    const Output packed =
        run(FATHOM_BIN_DIR "/fathom pack " + small_.path("text.txt") + " --out " +
            small_.path("packed/part") + " --tokens-per-file 3000 --document-separator='. '");
    ASSERT_EQ(packed.code, 0) << packed.text;
  }
  Output train(const std::string& out, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"--data.train=" + small_.path("packed/part_*.bin"), "--data.order=file_groups",
                               "--data.group_files=2", "--data.keep_documents_apart=true",
                               "--data.segments_of_row=true", "--optimizer.decay=parametrisation",
                               "--schedule.per_micro_batch=true", "--train.accumulation=2", "--train.rows=2",
                               "--train.label_smoothing=0.1", "--train.attention_dropout=0.2",
                               "--train.attention_dropout_from=3", "--train.cross_attention_dropout=0.1"});
    return small_.train(out, more);
  }
  std::vector<nlohmann::json> steps(const std::string& out) const {
    std::vector<nlohmann::json> found;
    for (nlohmann::json& entry : small_.metrics(out)) {
      entry.erase("seconds");
      if (entry["kind"] == "step") found.push_back(entry);
    }
    return found;
  }
  SmallRun small_{"train-packed", "sambay-mupp"};
};

TEST_F(TrainPacked, ARunIsResumedToTheBit) {
  const Output whole = train("whole");
  ASSERT_EQ(whole.code, 0) << whole.text;
  const std::vector<nlohmann::json> log = steps("whole");
  ASSERT_EQ(log.size(), 12U);
  // Two micro-batches: the first step has the rate of the second.
  EXPECT_DOUBLE_EQ(log[0]["learning_rate"].get<double>(), 5e-3 * 0.5 / 2);
  EXPECT_LT(log.back()["loss"].get<double>(), log.front()["loss"].get<double>());
  ASSERT_EQ(train("cut", {"--train.steps=5", "--schedule.total_steps=12"}).code, 0);
  const Output resumed = train("cut", {"--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(steps("cut"), log);
}

TEST_F(TrainPacked, DropoutBeginsAtItsStep) {
  ASSERT_EQ(train("with", {"--train.steps=5", "--train.cross_attention_dropout=0"}).code, 0);
  ASSERT_EQ(train("without",
                  {"--train.steps=5", "--train.cross_attention_dropout=0", "--train.attention_dropout=0"})
                .code,
            0);
  const std::vector<nlohmann::json> with = steps("with"), without = steps("without");
  for (size_t step = 0; step < 5; ++step) {
    const bool dropped = with[step]["loss"] != without[step]["loss"];
    EXPECT_EQ(dropped, step >= 3) << step;
  }
}

TEST_F(TrainPacked, ARunIsNotResumedWithOtherGroups) {
  ASSERT_EQ(train("run", {"--train.steps=4", "--schedule.total_steps=12"}).code, 0);
  const Output other = train("run", {"--resume", "--data.group_files=1", "--allow-changes"});
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.text.find("cannot resume: the saved list of rows is"), std::string::npos) << other.text;
}

}  // namespace
}  // namespace fathom::testing
