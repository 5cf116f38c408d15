// fathom inspect as a user runs it: what it prints, and how it ends.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "base/json.h"
#include "cli/command_testing.h"
#include "io/archive_testing.h"
#include "io/model_directory.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "plan/testing.h"
#include "weights/checkpoint.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

using cli::testing::Outcome;

Outcome run(const std::string& arguments) { return cli::testing::run_fathom("inspect " + arguments); }

class InspectCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (fs::temp_directory_path() / ("fathom-inspect-" + std::to_string(::getpid()))).string();
    const std::vector<float> a = {1, -3, 0, std::numeric_limits<float>::quiet_NaN()};
    const std::vector<uint16_t> b = {0x3f80, 0x3f80};
    ModelDirectoryContent content;
    content.config = {{"model_type", "test"}, {"vocab_size", 257}, {"unlisted", 1}};
    content.tensors = {view_of("layer.a", DType::kF32, {2, 2}, a), view_of("b", DType::kBF16, {2}, b)};
    content.max_shard_bytes = 16;
    ASSERT_TRUE(write_model_directory(path_, content).ok());
  }
  void TearDown() override { fs::remove_all(path_); }
  std::string path_;
};

TEST_F(InspectCommand, ListsTensorsTotalsAndConfig) {
  const Outcome output = run(path_ + " --json");
  ASSERT_EQ(output.code, 0) << output.text;
  const auto report = parse_json(output.text);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ((*report)["config"].dump(), R"({"model_type":"test","vocab_size":257})");
  EXPECT_EQ((*report)["totals"].dump(),
            R"({"bytes":20,"dtypes":{"BF16":{"bytes":4,"elements":2,"tensors":1},)"
            R"("F32":{"bytes":16,"elements":4,"tensors":1}},"elements":6,"tensors":2})");
  ASSERT_EQ((*report)["tensors"].size(), 2U);
  EXPECT_EQ(
      (*report)["tensors"][0].dump(),
      R"({"bytes":16,"dtype":"F32","file":"model-00001-of-00002.safetensors","name":"layer.a","shape":[2,2]})");
  EXPECT_EQ((*report)["files"][0]["metadata"]["format"], "pt");
}

TEST_F(InspectCommand, PrintsForPeople) {
  const Outcome output = run(path_);
  EXPECT_EQ(output.code, 0);
  for (const char* part :
       {"model_type  test", "layer.a  F32   [2,2]", "16 bytes", "2 tensors", "6 elements"}) {
    EXPECT_NE(output.text.find(part), std::string::npos) << part << "\n" << output.text;
  }
}

TEST_F(InspectCommand, StatisticsOfOneTensor) {
  const Outcome output = run(path_ + " --tensor layer.a --json");
  ASSERT_EQ(output.code, 0) << output.text;
  const auto report = parse_json(output.text).value();
  EXPECT_EQ(report["nan"], 1);
  EXPECT_EQ(report["zeros"], 1);
  EXPECT_EQ(report["min"], -3.0);
  EXPECT_EQ(report["max"], 1.0);
  EXPECT_NEAR(report["mean"].get<double>(), -2.0 / 3, 1e-12);
}

TEST_F(InspectCommand, TiedTensorsOfAnArchiveCountOnce) {
  using namespace testing_archive;
  const std::string file = path_ + "/pytorch_model.bin";
  ASSERT_TRUE(write_file_atomic(file, archive(state_dict(small_tensors()), {small_storage()})).ok());
  const Outcome output = run(file + " --json");
  ASSERT_EQ(output.code, 0) << output.text;
  const auto report = parse_json(output.text).value();
  EXPECT_EQ(report["tensors"].size(), 3U);
  EXPECT_EQ(report["tensors"][0].contains("tied_to"), false);
  EXPECT_EQ(report["tensors"][1]["name"], "tied");
  EXPECT_EQ(report["tensors"][1]["tied_to"], "a");
  EXPECT_EQ(report["totals"]["tensors"], 2);
  EXPECT_EQ(report["totals"]["bytes"], 32);  // the part counts beside the whole
  EXPECT_NE(run(file).text.find("24 bytes, tied to a\n"), std::string::npos);
}

// A run has a config.json, but its weights are those of its last checkpoint.
TEST_F(InspectCommand, OfARunTheLastCheckpointIsShown) {
  const std::string folder = path_ + "/run";
  for (const char* checkpoint : {"/checkpoint-9", "/checkpoint-10"})
    cli::testing::write_random_model(folder + checkpoint, testing_plan::tiny());
  fs::copy_file(folder + "/checkpoint-9/config.json", folder + "/config.json");
  const Outcome output = run(folder + " --json");
  ASSERT_EQ(output.code, 0) << output.text;
  const auto report = parse_json(output.text).value();
  EXPECT_EQ(report["path"], folder + "/checkpoint-10");
  EXPECT_EQ(report["config"]["vocab_size"], 257);
  EXPECT_GT(report["tensors"].size(), 0U);
  for (const char* checkpoint : {"/checkpoint-9", "/checkpoint-10"}) fs::remove_all(folder + checkpoint);
  EXPECT_EQ(run(folder).text,
            "fathom: " + folder + " holds neither the weights of a model nor a checkpoint of a run\n");
}

TEST_F(InspectCommand, DrawsTheDepthsOfAText) {
  const std::string model = path_ + "/mor", page = path_ + "/page.html";
  cli::testing::write_random_model(model, testing_plan::tiny_mor(Sharing::kMiddleCycle, 3));
  for (const std::string rule : {"threshold", "topk"}) {
    const Outcome output = run(model + " --depths " + page + " --prompt 'a <b> & c' -t 1 --routing " + rule);
    ASSERT_EQ(output.code, 0) << output.text;
    const std::string html = *read_file(page, 1 << 20);
    EXPECT_NE(html.find("9 tokens, routing " + rule), std::string::npos) << html;
    EXPECT_NE(html.find("&lt;</span>"), std::string::npos);
    EXPECT_EQ(html.find("<b>"), std::string::npos);
    EXPECT_EQ(html.find(", margin ") != std::string::npos, rule == "threshold");
  }
  // Under topk the depths follow from the capacities: 9, 6 and 3 of 9 tokens.
  const std::string html = *read_file(page, 1 << 20);
  EXPECT_NE(html.find("mean depth 2.000 of 3"), std::string::npos) << html;
}

TEST_F(InspectCommand, DepthsThatCannotBeShownAreRefused) {
  const std::string model = path_ + "/mor", plain = path_ + "/llama", page = path_ + "/page.html";
  ModelSpec spec = testing_plan::tiny_mor(Sharing::kMiddleCycle, 3);
  spec.max_position_embeddings = 8;
  cli::testing::write_random_model(model, spec);
  cli::testing::write_random_model(plain, testing_plan::tiny());
  const std::string depths = " --depths " + page;
  const struct {
    std::string arguments, message;
    int code = 1;
  } cases[] = {
      {plain + depths + " --prompt a", "--depths: this model has no routed recursion"},
      {model + depths + " --prompt ''", "--depths: the text holds no token"},
      {model + depths + " --prompt 123456789", "--depths: the text has 9 tokens, the model's context is 8"},
      {model + depths, "--depths needs a text: either --prompt or --file", 2},
      {model + depths + " --prompt a --json", "--depths and --json exclude each other", 2},
      {model + " --prompt a", "--prompt is for --depths", 2},
      {model + " -t 1", "--threads is for --depths", 2},
  };
  for (const auto& c : cases) {
    const Outcome output = run(c.arguments);
    EXPECT_EQ(output.code, c.code) << c.arguments;
    EXPECT_EQ(output.text, "fathom: " + c.message + "\n");
  }
  EXPECT_FALSE(fs::exists(page));
}

TEST_F(InspectCommand, FailuresAreOneSentence) {
  Outcome output = run(path_ + " --tensor none");
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.text, "fathom: " + path_ + ": no tensor \"none\"\n");
  ASSERT_TRUE(write_file_atomic(path_ + "/bad", "12345678").ok());
  output = run(path_ + "/bad");
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.text,
            "fathom: " + path_ + "/bad: header length 4050765991979987505 exceeds the limit of 100000000\n");
  const std::string longer(300, 'a');
  output = run(path_ + "/" + longer);
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.text.find("fathom: " + path_ + "/" + longer + ": "), 0U) << output.text;
  EXPECT_NE(output.text.find("File name too long\n"), std::string::npos) << output.text;
  EXPECT_EQ(run("").code, 2);
}

}  // namespace
}  // namespace fathom
