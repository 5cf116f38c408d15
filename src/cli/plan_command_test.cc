// The command itself: exit codes, and that what it prints is the plan's description.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "plan/spec_io.h"
#include "plan/work.h"
#include "state/sequence_state.h"

namespace fathom {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;  // both streams
};

Outcome fathom_plan(const std::string& arguments) {
  const std::string command = std::string(FATHOM_BIN_DIR) + "/fathom plan " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  Outcome run;
  std::array<char, 4096> buffer;
  for (size_t got; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    run.output.append(buffer.data(), got);
  run.exit_code = WEXITSTATUS(pclose(pipe));
  return run;
}

using ::testing::HasSubstr;

TEST(PlanCommand, PrintsABuiltInModel) {
  const Outcome run = fathom_plan("mor-360m-nr3 --context 2048");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, HasSubstr("165,177,600"));
  EXPECT_THAT(run.output, HasSubstr("x3 routed"));
}

TEST(PlanCommand, JsonIsOneObject) {
  const Outcome run = fathom_plan("phi-4-mini-flash --json --context 32768");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const nlohmann::json json = nlohmann::json::parse(run.output);
  EXPECT_EQ(json["parameters"]["unique"], 3852562944);
  EXPECT_EQ(json["state_bytes"]["per_token"], 5120);
  const ModelPlan plan = *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/phi-4-mini-flash.toml"));
  EXPECT_EQ(json["state_bytes"]["allocated"], state_bytes(plan, 32768, 256, DType::kBF16));
  const DecodeBytes last = count_decode_bytes(plan, 32767, 32768, DType::kBF16, DType::kBF16);
  EXPECT_EQ(json["decode_bytes"]["total"], last.total());
  EXPECT_EQ(json["decode_bytes"]["kv"], last.kv);
}

TEST(PlanCommand, ReadsAFileAndListsItsTensors) {
  const Outcome run =
      fathom_plan(std::string(FATHOM_SOURCE_DIR) + "/configs/models/tiny/sambay.toml --tensors");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, HasSubstr("transformer.h.6.attn.gmu.in_proj.weight"));
  EXPECT_THAT(fathom_plan("tiny/sambay --params").output, HasSubstr("layers.6.gmu.in_proj"));
}

// Decoder-Hybrid-Decoder, table 7.
TEST(PlanCommand, TheStudyGivesTokensAndRatesByDepth) {
  const Outcome run = fathom_plan("transformer-d16 sambay-d8 --study --json");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const nlohmann::json rows = nlohmann::json::parse(run.output);
  EXPECT_EQ(rows[0]["tokens"], 100000000000);
  EXPECT_EQ(rows[0]["learning_rate"], 4e-4);
  EXPECT_EQ(rows[0]["matrix_rate"], 1);
  EXPECT_EQ(rows[1]["tokens"], 12670477505);
  EXPECT_NEAR(rows[1]["learning_rate"].get<double>(), 5.66e-4, 5e-7);
  EXPECT_EQ(rows[1]["matrix_rate"], 2);
  EXPECT_THAT(fathom_plan("sambay-d8 --study").output,
              HasSubstr("6041 steps of 2097152 tokens, 476 of warm-up"));
  EXPECT_THAT(fathom_plan("smollm-135m --study").output,
              HasSubstr("smollm-135m: architecture: the study counts no parameters of \"llama\""));
}

TEST(PlanCommand, ModelsStandSideBySideAtOneBudget) {
  const Outcome run = fathom_plan("smollm-360m mor-360m-nr2 --iso-flops 16.5e18");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, HasSubstr("9438"));
  EXPECT_THAT(run.output, HasSubstr("12619"));
  const Outcome json = fathom_plan("smollm-360m recursive-360m-nr4 --iso-flops 16.5e18 --json");
  ASSERT_EQ(json.exit_code, 0) << json.output;
  const nlohmann::json models = nlohmann::json::parse(json.output)["models"];
  ASSERT_EQ(models.size(), 2U);
  EXPECT_EQ(models[1]["name"], "recursive-360m-nr4");
  EXPECT_EQ(models[1]["steps"], 8883);
  EXPECT_EQ(models[0]["warmup_steps"], 57);
  const Outcome half = fathom_plan("smollm-360m --iso-flops 16.5e18 --batch-tokens 1048576 --json");
  EXPECT_EQ(nlohmann::json::parse(half.output)["models"][0]["steps"], 18876);
  EXPECT_EQ(fathom_plan("sambay-d8 --iso-flops 16.5e18").exit_code, 1);
}

TEST(PlanCommand, RefusesWithItsExitCodes) {
  const Outcome two = fathom_plan("smollm-360m mor-360m-nr2");
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_THAT(two.output, HasSubstr("fathom: plan: 2 specifications, expected one"));
  EXPECT_EQ(fathom_plan("smollm-360m --batch-tokens 1048576").exit_code, 2);
  EXPECT_EQ(fathom_plan("smollm-360m --iso-flops -1").exit_code, 2);
  EXPECT_EQ(fathom_plan("no-such-model").exit_code, 1);
  EXPECT_THAT(fathom_plan("no-such-model").output, HasSubstr("mor-360m-nr3"));
  EXPECT_EQ(fathom_plan("mor-360m-nr3 --kv-type f8").exit_code, 2);
  EXPECT_EQ(fathom_plan("mor-360m-nr3 --json --params").exit_code, 2);
  for (const std::string flag : {"--iso-flops", "--iso-flops 16.5e18 --smallest-budget"}) {
    for (const std::string value : {"nan", "inf", "1e400"}) {
      const Outcome run = fathom_plan("mor-360m-nr3 " + flag + " " + value);
      EXPECT_EQ(run.exit_code, 2) << flag << " " << value;
      EXPECT_THAT(run.output, HasSubstr("'" + value + "' is not a finite number of at least 1"));
    }
  }
  EXPECT_EQ(fathom_plan("mor-360m-nr3 --chunk 100000000000000000000").exit_code, 2);
}

TEST(PlanCommand, FlagsOfTheStateAreRefusedWhereNoStateIsShown) {
  for (const std::string table : {"--params", "--tensors", "--study", "--iso-flops 16.5e18"}) {
    for (const std::string flag : {"--context 64", "--kv-type f32", "--chunk 8"}) {
      const Outcome run = fathom_plan("smollm-360m " + table + " " + flag);
      EXPECT_EQ(run.exit_code, 2) << table << " " << flag;
      EXPECT_THAT(run.output, HasSubstr(" excludes ")) << table << " " << flag;
    }
  }
  EXPECT_EQ(fathom_plan("smollm-360m -c 64 -b 8").exit_code, 0);
}

}  // namespace
}  // namespace fathom
